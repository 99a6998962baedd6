"""PURE: what to do. No asyncio, os, socket, time or logging; no clock, no file."""
