"""Before any model has answered: what the query alone tells."""
