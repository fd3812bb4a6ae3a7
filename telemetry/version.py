"""Version of the distribution, read by the build and sent in `user-agent` and resource attributes."""

__version__ = "0.1.0"
