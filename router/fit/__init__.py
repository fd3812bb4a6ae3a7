"""Learns from outcome logs. Needs numpy and time; no gateway worker imports it."""
