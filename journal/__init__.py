"""The durable, ordered log of changes: one append per batch, dense offsets per channel, read by cursor."""
