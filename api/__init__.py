"""The HTTP side: ingest of scraped results, health and metrics, the channels, the live page."""
