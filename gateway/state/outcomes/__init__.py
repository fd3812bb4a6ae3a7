"""What routes have learned from: outcomes, kept by route and tenant, for a start and for other workers."""
