"""People saved under a name, for every door."""
