"""Hook scripts below usr/libexec/vdsm/hooks/<point>/ of the root, run as VDSM runs them.

Model: vdsm: lib/vdsm/common/hooks.py. All executable regular files of the
directory, sorted; one temporary file is handed through all of them; there is no
time limit: a hanging script hangs the verb, as it does in VDSM.
"""

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ovirt_he_agent.sim.vdsm import refusals

STOP = 2
"""Exit status: failed, and no further script is run."""

log = logging.getLogger(__name__)


class Hooks:
    def __init__(self, root: Path) -> None:
        self._directory = root / "usr" / "libexec" / "vdsm" / "hooks"

    def scripts(self, point: str) -> list[Path]:
        """Read at each call: scripts come and go without a restart."""
        directory = self._directory / point
        return sorted(s for s in directory.glob("*") if s.is_file() and os.access(s, os.X_OK))

    def points(self) -> list[str]:
        return sorted(path.name for path in self._directory.glob("*") if path.is_dir())

    async def json(self, point: str, value: object, *, must_work: bool = False) -> object:
        """The value as the scripts leave it.

        Raises ``Refused`` (1500) when one failed and ``must_work``, ``ValueError`` when broken JSON was left.
        """
        if not self.scripts(point):
            return value
        text, errors = await self._run(point, json.dumps(value), "_hook_json", {})
        if errors and must_work:
            raise refusals.hook_failed(errors[-1])
        return json.loads(text)

    async def domain_xml(self, point: str, xml: str, vm_id: str) -> str:
        """The definition as the scripts leave it. Raises ``Refused`` (1500) when one failed."""
        if not self.scripts(point):
            return xml
        text, errors = await self._run(point, xml, "_hook_domxml", {"vmId": vm_id})
        if errors:
            raise refusals.hook_failed(errors[-1])
        return text

    async def _run(
        self, point: str, content: str, variable: str, more: Mapping[str, str]
    ) -> tuple[str, list[bytes]]:
        errors: list[bytes] = []
        name = _write(content)
        try:
            for script in self.scripts(point):
                status, stderr = await _start(script, {**os.environ, variable: name, **more})
                log.info("%s: rc=%s err=%r", script, status, stderr)
                if status != 0:
                    errors.append(stderr)
                if status == STOP:
                    break
                if status > STOP:
                    log.warning("hook returned unexpected return code %s", status)
            return _read(name), errors
        finally:
            os.unlink(name)


def _write(content: str) -> str:
    """A new temporary file, mode 0600."""
    descriptor, name = tempfile.mkstemp()
    with open(descriptor, "w") as f:
        f.write(content)
    return name


def _read(name: str) -> str:
    return Path(name).read_text()


async def _start(script: Path, environment: Mapping[str, str]) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        script,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        _, stderr = await process.communicate()
    except asyncio.CancelledError:  # the emulator ends: no child is left behind
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, stderr
