"""The servers behind the gateway: one adapter for each kind, all with the same small interface."""
