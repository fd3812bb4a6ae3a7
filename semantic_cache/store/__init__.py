"""Where entries are kept: one interface, two stores."""
