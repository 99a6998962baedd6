"""A model of the daemons that this agent replaces (ovirt-ha-agent and ovirt-ha-broker 2.5), defects included.

A neighbour to live with, never a source of rules for ours: nothing here uses our
decision code or our reading of slots. ``host`` is what a simulated cluster uses.
"""
