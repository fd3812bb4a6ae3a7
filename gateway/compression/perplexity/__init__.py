"""What a small language model says of a prompt: how surprising its words are, with the question or not."""
