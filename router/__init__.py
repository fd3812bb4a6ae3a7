"""Cascade routing between model tiers: which model a request needs, before and after a small one has
answered.

What runs in a gateway worker (`before`, `after`, `policy`) is plain Python. `fit` learns from outcome logs,
uses numpy and runs elsewhere.
"""
