"""Paged KV memory: who owns which block, and which finished blocks can be shared."""
