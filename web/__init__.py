"""The browser's half of Rowcast, served as it stands: client.js (the SDK) and the live page."""
