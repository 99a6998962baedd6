"""What the agent watches beside VDSM and storage."""
