"""Attention over paged KV: the seam, and one file per implementation."""
