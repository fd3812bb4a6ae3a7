"""Learning while a route serves, in plain Python: gateway workers have no numpy."""
