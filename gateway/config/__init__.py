"""The configuration: what may stand in it, where it comes from, and errors that say where."""
