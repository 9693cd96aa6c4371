"""Settings, command line and the composition of the other rooms: the only one that has met everybody."""
