"""Exact and semantic answer cache. Nothing is built here yet: every request goes to its upstream."""
