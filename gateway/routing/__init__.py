"""Routes that learn while they serve: what is watched, compared and kept, around `router.policy.of_many`."""
