"""Comparisons with peers and load tools. Run as `python -m benchmarks.NAME`; nothing imports them."""
