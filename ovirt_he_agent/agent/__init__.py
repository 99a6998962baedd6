"""The loop: observe, decide, act, publish. Knows ports, not adapters."""
