"""A decision in words: why, what would change it, what was looked at. No rule reads any of this."""
