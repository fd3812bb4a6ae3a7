"""Ways round a full context window: what becomes of a prompt that is longer than its model can read."""
