"""Linear layers by number format, behind one seam."""
