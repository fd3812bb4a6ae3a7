"""One file a system under comparison; each runs in an environment of its own."""
