"""The semantic process: it follows the store, embeds, searches and decides."""
