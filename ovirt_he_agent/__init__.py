"""High availability for oVirt's engine VM. Observe, decide, act, publish: docs/architecture.md."""

__version__ = "0.1.0"
