"""Shipped simulation: the VDSM emulator, its guests and storage, and the demo."""
