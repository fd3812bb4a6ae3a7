"""Around a route's policy: what models can do, conversations, second opinions, and what is learned live."""
