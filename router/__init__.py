"""Cascade routing between model tiers. Nothing is built here yet: `auto` is an alias of one model."""
