"""The answer cache: what may share an answer, what is stored, how it is replayed, and where it is kept."""
