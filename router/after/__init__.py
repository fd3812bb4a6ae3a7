"""After the small model has answered: how far its answer can be trusted."""
