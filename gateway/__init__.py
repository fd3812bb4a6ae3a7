"""The edge: CLI, configuration, the aiohttp application, hops and upstream adapters. Never imports torch."""
