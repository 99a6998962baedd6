"""``ovf from-vm-conf``: the OVF of an engine VM that has none yet, from the vm.conf of its old deployment."""

import re
import time
from pathlib import Path
from typing import Any

import click

from ovirt_he_agent import atomic_file
from ovirt_he_agent.cli import app
from ovirt_he_agent.cli.ovf_file import BadFile
from ovirt_he_agent.ovf.vmconf import reader
from ovirt_he_agent.ovf.writer import document

_LEVEL = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}", re.ASCII)


class _Level(click.ParamType[str]):
    name = "level"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _LEVEL.fullmatch(value):
            self.fail(f"{value!r} is not a compatibility version like 4.5", param, ctx)
        return str(value)


@click.command("from-vm-conf")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="Write the OVF to OUT.")
@click.option(
    "--cluster-version",
    type=_Level(),
    metavar="X.Y",
    help="The cluster's compatibility version, which is not in a vm.conf.",
)
def command(file: Path, output: Path | None, cluster_version: str | None) -> None:
    """Make an OVF of the vm.conf FILE of an old deployment.

    The OVF goes to stdout; what of FILE an OVF cannot hold is said on stderr.
    """
    written_at = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime())
    try:
        params = reader.read(_content(file))
        made = document.write(params, written_at=written_at, cluster_version=cluster_version)
    except reader.BadVmConf as e:
        raise BadFile(file, str(e)) from e
    for warning in made.warnings:
        app.complain(f"{file}: warning: {warning}")
    data = made.text.encode()
    if output is None:
        click.echo(data, nl=False)
    elif output.exists() and not output.is_file():  # a pipe or a device is not to be replaced
        output.write_bytes(data)
    else:
        atomic_file.replace(output.resolve(), data, mode=0o644)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(reader.MAX_BYTES + 1)
    except OSError as e:
        raise BadFile(path, f"cannot be read: {e.strerror or e}; check the path and its permissions") from e
