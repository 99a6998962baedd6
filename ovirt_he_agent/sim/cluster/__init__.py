"""A cluster of hosts in virtual time: what the agent is proved in before it is trusted with a VM."""
