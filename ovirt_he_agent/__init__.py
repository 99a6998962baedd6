"""High availability for oVirt's engine VM. DESIGN: observe, decide, act, publish."""

__version__ = "0.1.0"
