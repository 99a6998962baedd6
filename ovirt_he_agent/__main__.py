"""The composition root: the command's verbs and where each one is; a verb is imported when it is called."""

import sys

from ovirt_he_agent.cli import app

COMMANDS = {
    "config": "ovirt_he_agent.cli.config:group",
    "demo": "ovirt_he_agent.sim.demo.command:command",
    "doctor": "ovirt_he_agent.cli.doctor:doctor",
    "explain": "ovirt_he_agent.cli.explain:explain",
    "maintenance": "ovirt_he_agent.cli.maintenance:maintenance",
    "ovf": "ovirt_he_agent.cli.ovf:ovf",
    "run": "ovirt_he_agent.daemon:command",
    "simulate": "ovirt_he_agent.sim.simulate:command",
    "status": "ovirt_he_agent.cli.status:status",
    "vm": "ovirt_he_agent.cli.vm:group",
}


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(app.run(COMMANDS))


if __name__ == "__main__":
    main()
