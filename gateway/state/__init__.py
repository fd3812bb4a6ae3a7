"""What a gateway remembers between requests."""
