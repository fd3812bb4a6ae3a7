"""The semantic process, and what the gateway's workers need to talk to it. Only `service` needs numpy."""
