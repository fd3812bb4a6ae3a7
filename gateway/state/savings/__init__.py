"""What was saved, by tenant, day of UTC and layer, for as long as `KEPT_DAYS`."""
