"""Embedders: a text becomes a vector, and the last hidden states of its tokens."""
