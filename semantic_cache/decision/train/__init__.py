"""How the verifier's weights and the shipped calibration are made; nothing here runs in the service."""
