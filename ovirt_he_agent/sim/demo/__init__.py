"""The main job, for real, on one machine: the demo tells it as it happens."""
