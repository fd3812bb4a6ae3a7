"""What a route's cascade knows beside its policy: what models can do, conversations, second opinions."""
