"""The prompt compressor: what leaves a prompt on its way to the upstream, and what never does."""
