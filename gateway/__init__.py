"""The WebSocket gateway: serves the journal's channels to browsers (docs/protocol.md)."""
