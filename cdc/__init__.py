"""Change data capture: the binary log in, committed transactions out."""
