"""``./dev bench``: how fast this is beside its peers, measured in turns on one machine. No test decides by it."""
