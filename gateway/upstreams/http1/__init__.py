"""An HTTP/1.1 client: what the gateway needs of one and no more, at a small part of the usual cost."""
