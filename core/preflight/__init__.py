"""The card before a measurement."""
