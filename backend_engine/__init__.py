"""The bundled inference engine: its own process and its own OpenAI-compatible HTTP server."""
