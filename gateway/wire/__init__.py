"""The OpenAI protocol as bytes: requests in, answers and events out, and the table of errors."""
