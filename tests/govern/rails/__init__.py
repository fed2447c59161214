"""Rails and the evasion corpus."""
