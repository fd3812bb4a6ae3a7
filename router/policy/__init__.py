"""What to do with what is known: which tier answers, and whether its answer stands."""
