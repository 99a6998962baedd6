"""The operators' command, one module per group of verbs."""
