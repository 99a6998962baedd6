"""Our own configuration: options with unit and default, checked when read; and where files are.

``etc/ovirt-he-agent.yaml`` shows every option (a test compares it with the
classes here). A wrong value stops the program with exit code 3 and says which
file, which option, what it is and what is allowed; an unknown option is a warning.
"""

import os
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

import yaml

from ovirt_he_agent.errors import NotConfigured

ROOT_VARIABLE = "OVIRT_HE_ROOT"


@dataclass(eq=False)
class BadOption(NotConfigured):
    """An option holds what it may not hold."""

    file: Path
    option: str
    given: str
    allowed: str
    msg: ClassVar[str] = "{self.file}: {self.option} is {self.given}, allowed is {self.allowed}"


@dataclass(eq=False)
class BadFile(NotConfigured):
    """A configuration file cannot be read, or is no configuration."""

    file: Path
    reason: str
    msg: ClassVar[str] = (
        "{self.file}: {self.reason}; mend the file, `ovirt-he-agent config check` reads it again"
    )


@dataclass(eq=False)
class Contradiction(NotConfigured):
    """Options that are good alone and not together."""

    files: str
    reason: str
    msg: ClassVar[str] = "{self.reason} (set in {self.files})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where our files and upstream's are. ``root`` moves them all (tests, the demo)."""

    root: Path = Path("/")

    @classmethod
    def find(cls, root: Path | None = None, environ: Mapping[str, str] = os.environ) -> "Paths":
        """``root`` as given (--root), else by OVIRT_HE_ROOT, else /; always absolute."""
        return cls(root=Path(root or environ.get(ROOT_VARIABLE) or "/").absolute())

    def under(self, path: str | Path) -> Path:
        """An absolute path, moved below ``root``."""
        return self.root / str(path).lstrip("/")

    @property
    def etc_dir(self) -> Path:
        return self.under("/etc/ovirt-he-agent")

    @property
    def config_file(self) -> Path:
        return self.etc_dir / "ovirt-he-agent.yaml"

    @property
    def drop_in_dir(self) -> Path:
        return self.etc_dir / "ovirt-he-agent.d"

    @property
    def state_dir(self) -> Path:
        return self.under("/var/lib/ovirt-he-agent")

    @property
    def state_file(self) -> Path:
        return self.state_dir / "state.json"

    @property
    def run_dir(self) -> Path:
        return self.under("/run/ovirt-he-agent")

    @property
    def socket(self) -> Path:
        return self.run_dir / "agent.socket"

    @property
    def hosted_engine_conf(self) -> Path:
        return self.under("/etc/ovirt-hosted-engine/hosted-engine.conf")

    @property
    def ha_conf(self) -> Path:
        return self.under("/var/lib/ovirt-hosted-engine-ha/ha.conf")

    @property
    def agent_conf(self) -> Path:
        return self.under("/etc/ovirt-hosted-engine-ha/agent.conf")

    @property
    def vm_conf(self) -> Path:
        return self.under("/run/ovirt-hosted-engine-ha/vm.conf")


class FileMode(int):
    """Permission bits; shown as they are written."""

    def __str__(self) -> str:
        return f"{self:04o}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What values an option may have; ``decode`` raises ValueError for others."""

    allowed: str
    decode: Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ValueError
    return value


def _word(value: Any) -> str:
    if any(c.isspace() or c in "/@" for c in _text(value)):
        raise ValueError
    return str(value)


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError
    return path


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _url_template(value: Any) -> str:
    for _, name, spec, conversion in string.Formatter().parse(_text(value)):  # ValueError: a lone brace
        if name is not None and (name != "fqdn" or spec or conversion):
            raise ValueError
    if not value.startswith(("http://", "https://")):
        raise ValueError
    return str(value)


def _file_mode(value: Any) -> FileMode:
    # without quotes YAML makes 438 of 0666 and 666 of 666: nobody can tell what was meant
    digits = _text(value)
    if not 3 <= len(digits) <= 4 or not set(digits) <= set("01234567"):
        raise ValueError
    mode = int(digits, 8)
    if mode > 0o777 or mode & 0o600 != 0o600:
        raise ValueError
    return FileMode(mode)


def _word_or_null(value: Any) -> str | None:
    return None if value is None else _word(value)


def _networks(value: Any) -> dict[str, str]:
    """The host's names are names of interfaces, which Linux limits to 15 characters."""
    if not isinstance(value, dict) or any(len(_word(name)) > 15 for name in value.values()):
        raise ValueError
    return {_text(name): on_host for name, on_host in value.items()}


def _number(least: float, most: float, kind: type[float] = float) -> _Kind:
    def decode(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | kind):
            raise ValueError
        if not least <= value <= most:  # NaN is nowhere
            raise ValueError
        return value

    whole = "whole " if kind is int else ""
    return _Kind(f"a {whole}number from {least} to {most}", decode)


def _choice(*choices: str) -> _Kind:
    def decode(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return _Kind(f"one of {', '.join(choices)}", decode)


_FLAG = _Kind("true or false", _flag)
_PATH = _Kind("an absolute path", _path)
_HOST = _Kind("a host name or an address", _word)
_URL = _Kind("a URL (http:// or https://) in which only {fqdn} stands in braces", _url_template)
_CPU = _Kind("null or a CPU model of libvirt with flags, as Haswell-noTSX,+md-clear", _word_or_null)
_GROUP = _Kind("null or the name of a group of users", _word_or_null)
_NETWORKS = _Kind("a map from networks of the engine to their names on this host", _networks)
_MODE = _Kind('permission bits in quotes, "0600" to "0777", the owner may read and write', _file_mode)
_FOR_ALL = FileMode(0o666)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vdsm:
    """How to reach the local VDSM."""

    host: Annotated[str, _HOST] = "localhost"
    port: Annotated[int, _number(1, 65535, int)] = 54321
    tls: Annotated[bool, _FLAG] = True
    key_file: Annotated[Path, _PATH] = Path("/etc/pki/vdsm/keys/vdsmkey.pem")
    cert_file: Annotated[Path, _PATH] = Path("/etc/pki/vdsm/certs/vdsmcert.pem")
    ca_file: Annotated[Path, _PATH] = Path("/etc/pki/vdsm/certs/cacert.pem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How to ask the engine whether it is well."""

    health_url: Annotated[str, _URL] = "http://{fqdn}/ovirt-engine/services/health"
    """``.format(fqdn=...)`` makes the URL of it."""
    probe_timeout_s: Annotated[float, _number(1, 60)] = 20
    probe_period_s: Annotated[float, _number(1, 60)] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sanlock:
    """How the host id in the hosted engine's lockspace is held."""

    io_timeout_s: Annotated[int, _number(0, 60, int)] = 0
    """0: sanlock's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How the shared volumes are read."""

    whiteboard_period_s: Annotated[float, _number(1, 30)] = 10
    read_timeout_s: Annotated[float, _number(1, 40)] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """How the VM's definition in the OVF_STORE is followed, and made fit for this host."""

    check_period_s: Annotated[float, _number(1, 3600)] = 5

    start_without_missing_nics: Annotated[bool, _FLAG] = False
    networks: Annotated[Mapping[str, str], _NETWORKS] = field(default_factory=dict)
    default_cpu: Annotated[str | None, _CPU] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient the agent is with an engine that is not well, and when it moves one that is."""

    profile: Annotated[str, _choice("auto", "compat", "fast")] = "auto"
    db_down_grace_s: Annotated[float, _number(15, 3600)] = 180
    no_answer_grace_s: Annotated[float, _number(15, 3600)] = 60
    guest_dead_grace_s: Annotated[float, _number(15, 3600)] = 45
    paused_grace_s: Annotated[float, _number(5, 3600)] = 20
    start_limit_s: Annotated[float, _number(60, 7200)] = 600
    move_when_network_lost: Annotated[bool, _FLAG] = True
    network_lost_s: Annotated[float, _number(30, 3600)] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Who may use the agent's socket."""

    socket_mode: Annotated[FileMode, _MODE] = _FOR_ALL
    group: Annotated[str | None, _GROUP] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """What is logged."""

    level: Annotated[str, _choice("debug", "info", "warning", "error")] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All options; ``files`` are those that were read, in order, ``warnings`` one line each."""

    vdsm: Vdsm = field(default_factory=Vdsm)
    engine: Engine = field(default_factory=Engine)
    sanlock: Sanlock = field(default_factory=Sanlock)
    storage: Storage = field(default_factory=Storage)
    definition: Definition = field(default_factory=Definition)
    policy: Policy = field(default_factory=Policy)
    control: Control = field(default_factory=Control)
    logging: Logging = field(default_factory=Logging)
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


SECTIONS: tuple[str, ...] = tuple(f.name for f in fields(Config) if f.name not in ("files", "warnings"))


def load(paths: Paths, config_file: Path | None = None) -> Config:
    """The main file and the drop-ins (``*.yaml``, sorted by name), the last word on an option counts.

    ``config_file`` (--config) stands alone: no drop-ins, and it has to be there.
    Without it a missing main file means defaults. Default paths are below
    ``paths.root``; a path that a file names is taken as it is written.
    Raises ``BadFile``, ``BadOption``, ``Contradiction`` (all ``NotConfigured``).
    """
    files = (config_file,) if config_file else _files(paths)
    config = _below(Config(), paths)
    warnings: list[str] = []
    for file in files:
        config = _merge(config, _read(file), file, warnings)
    config = replace(config, files=files, warnings=tuple(warnings))
    _check_together(config)
    return config


def as_dict(config: Config) -> dict[str, dict[str, Any]]:
    """Section -> option -> value, in plain types as the file has them."""
    shown = {}
    for section in SECTIONS:
        options = getattr(config, section)
        shown[section] = {f.name: _plain(getattr(options, f.name)) for f in fields(options)}
    return shown


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path | FileMode) else value


def _kinds(options: Any) -> dict[str, _Kind]:
    hints = get_type_hints(type(options), include_extras=True)
    return {f.name: hints[f.name].__metadata__[0] for f in fields(options)}


def _files(paths: Paths) -> tuple[Path, ...]:
    main = (paths.config_file,) if os.path.lexists(paths.config_file) else ()
    try:
        names = sorted(os.listdir(paths.drop_in_dir))
    except FileNotFoundError:
        return main
    except OSError as e:
        raise BadFile(paths.drop_in_dir, f"cannot be listed: {e.strerror}") from e
    drop_ins = (paths.drop_in_dir / n for n in names if n.endswith(".yaml") and not n.startswith("."))
    return (*main, *drop_ins)


def _below(config: Config, paths: Paths) -> Config:
    vdsm = config.vdsm
    moved: dict[str, Any] = {
        name: paths.under(getattr(vdsm, name)) for name in ("key_file", "cert_file", "ca_file")
    }
    return replace(config, vdsm=replace(vdsm, **moved))


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what it would resolve silently: the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise BadFile(file, f"is no UTF-8 text (byte {e.start})") from e
    except OSError as e:
        raise BadFile(file, f"cannot be read: {e.strerror}") from e
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as e:
        line = f"line {e.problem_mark.line + 1}: " if e.problem_mark else ""
        raise BadFile(file, f"{line}{e.problem or e.context}") from e
    except yaml.YAMLError as e:
        raise BadFile(file, f"is no YAML: {e}") from e
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadFile(file, f"holds no sections but {_shown(content)}")
    return content


def _merge(config: Config, content: dict[Any, Any], file: Path, warnings: list[str]) -> Config:
    for section, given in content.items():
        if section not in SECTIONS:
            warnings.append(f"{file}: unknown section {section} ignored; known are {', '.join(SECTIONS)}")
            continue
        if given is None:  # all its options are comments
            continue
        if not isinstance(given, dict):
            raise BadOption(file, section, _shown(given), "a section with options below it")
        kinds = _kinds(getattr(config, section))
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if name not in kinds:
                known = ", ".join(kinds)
                warnings.append(f"{file}: unknown option {section}.{name} ignored; known are {known}")
                continue
            try:
                changes[name] = kinds[name].decode(value)
            except ValueError:
                raise BadOption(file, f"{section}.{name}", _shown(value), kinds[name].allowed) from None
        changed: dict[str, Any] = {section: replace(getattr(config, section), **changes)}
        config = replace(config, **changed)
    return config


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


FRESH_S = 50
"""Within so many seconds a slot of the whiteboard has to change, or its host counts as dead."""


def _check_together(config: Config) -> None:
    storage = config.storage
    if storage.whiteboard_period_s + storage.read_timeout_s > FRESH_S:
        raise Contradiction(
            ", ".join(map(str, config.files)),
            f"storage.whiteboard_period_s ({storage.whiteboard_period_s}) and storage.read_timeout_s "
            f"({storage.read_timeout_s}) are more than {FRESH_S} s together: "
            "other hosts would take this one for dead",
        )
