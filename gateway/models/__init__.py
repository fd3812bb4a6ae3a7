"""The model store: what can be pulled, how it is fetched and verified, where it lies. Never imports torch."""
