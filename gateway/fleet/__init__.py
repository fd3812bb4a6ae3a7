"""Calls that gateways over one Redis share: what a leader tells, and what a follower makes of it."""
