"""The gateway's own API keys: what they look like, where their hashes are kept, whom they belong to."""
