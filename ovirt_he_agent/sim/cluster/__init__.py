"""A cluster in virtual time: models of what surrounds the agent, deterministic and without I/O."""
