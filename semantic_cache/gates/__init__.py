"""Deterministic gates: what must be shown equal in two questions before one answer may serve both."""
