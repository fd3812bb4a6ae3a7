"""Speculative decoding: guess a sequence's next tokens cheaply, verify them all in one step."""
