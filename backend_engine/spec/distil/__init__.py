"""Trains the draft head (`spec/draft_head.py`) of a model on what that model itself says."""
