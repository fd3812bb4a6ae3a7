"""The accounts of tenants with limits: what they have taken, and what is reserved for requests under way."""
