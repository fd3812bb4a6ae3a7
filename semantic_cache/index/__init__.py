"""The vector index: which stored questions of a scope are nearest to a new one."""
