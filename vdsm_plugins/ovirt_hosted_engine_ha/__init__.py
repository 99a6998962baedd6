"""The name under which VDSM looks for Hosted Engine HA; the work is done by ovirt-he-agent."""
