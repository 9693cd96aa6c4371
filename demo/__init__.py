"""Plays the legacy process: made-up cameras whose detections are written by plain SQL. Knows nothing of Rowcast."""
