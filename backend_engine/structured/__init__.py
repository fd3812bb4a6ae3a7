"""Answers held to a grammar: JSON schemas and tool calls, by masking the tokens that would leave it."""
