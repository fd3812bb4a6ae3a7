"""The steps of a request, one file each. `gateway.app` puts them in order."""
