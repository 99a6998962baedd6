"""hosted-engine.conf: good, odd and contradictory ones."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.adapters import hosted_engine_conf
from ovirt_he_agent.adapters.hosted_engine_conf import (
    BadValue,
    ConfDamaged,
    ConfMissing,
    ConfUnreadable,
)
from ovirt_he_agent.core.model import NetworkTest, NetworkTestKind
from ovirt_he_agent.errors import NotConfigured

VM = "b6bd28c6-cb69-431f-ad65-37efa6931f8c"
DOMAIN = "76a79a20-8ce3-432d-8c1e-112b88ef9510"
CONNECTION = "e29cf818-5ee5-46e1-85c1-8aeefa33e95d"
BLANK = "00000000-0000-0000-0000-000000000000"


def volume(number: int) -> str:
    return f"{number:08x}-8ce3-432d-8c1e-112b88ef9510"


DEPLOYED = {
    # the order and the keys of the deployment role
    "fqdn": "engine.example.org",
    "vm_disk_id": volume(1),
    "vm_disk_vol_id": volume(2),
    "vmid": VM,
    "storage": "nas.example.org:/exports/he",
    "nfs_version": "auto",
    "mnt_options": "",
    "conf": "/var/run/ovirt-hosted-engine-ha/vm.conf",
    "host_id": "1",
    "console": "vnc",
    "domainType": "nfs",
    "spUUID": BLANK,
    "sdUUID": DOMAIN,
    "connectionUUID": CONNECTION,
    "ca_subject": '"C=EN, L=Test, O=Test, CN=Test"',
    "vdsm_use_ssl": "true",
    "gateway": "192.0.2.1",
    "bridge": "ovirtmgmt",
    "network_test": "dns",
    "tcp_t_address": "",
    "tcp_t_port": "",
    "metadata_volume_UUID": volume(4),
    "metadata_image_UUID": volume(3),
    "lockspace_volume_UUID": volume(6),
    "lockspace_image_UUID": volume(5),
    "conf_volume_UUID": volume(8),
    "conf_image_UUID": volume(7),
    "iqn": "",
    "portal": "",
    "user": "",
    "password": "",
    "port": "",
}


def write(path: Path, without: tuple[str, ...] = (), /, **values: str) -> Path:
    lines = {key: value for key, value in (DEPLOYED | values).items() if key not in without}
    path.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosted-engine.conf"


def load(path: Path, **values: str) -> hosted_engine_conf.HostedEngineConf:
    return hosted_engine_conf.load(write(path, **values))


def refused(path: Path, without: tuple[str, ...] = (), /, **values: str) -> BadValue:
    write(path, without, **values)
    with pytest.raises(BadValue) as caught:
        hosted_engine_conf.load(path)
    assert isinstance(caught.value, NotConfigured)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_deployed_host_is_read(path: Path) -> None:
    conf = load(path)
    assert (conf.host_id, conf.vm_id, conf.domain_id, conf.fqdn) == (1, VM, DOMAIN, "engine.example.org")
    assert conf.vm_disk == (volume(1), volume(2))
    assert conf.whiteboard == (volume(3), volume(4))
    assert conf.lockspace == (volume(5), volume(6))
    assert (conf.domain_type, conf.domain_type_number) == ("nfs", 1)


# the reader's rules


def test_comments_blanks_and_lines_without_a_value_are_skipped(path: Path) -> None:
    write(path)
    path.write_text("# a comment\n  # host_id=7\n\nno equals sign\n" + path.read_text() + "\n \n")
    assert hosted_engine_conf.load(path).host_id == 1


def test_blanks_around_key_and_value_do_not_count(path: Path) -> None:
    write(path, ("host_id",))
    path.write_text(path.read_text() + "  host_id \t=  7 \r\n")
    assert hosted_engine_conf.load(path).host_id == 7


def test_the_last_of_repeated_keys_counts(path: Path) -> None:
    write(path)
    path.write_text(path.read_text() + "host_id=2\nhost_id=3\n")
    assert hosted_engine_conf.load(path).host_id == 3


def test_a_value_may_contain_an_equals_sign(path: Path) -> None:
    [connection] = load(path, mnt_options="vers=4,sec=krb5").connections
    assert connection["mnt_options"] == "vers=4,sec=krb5"


# what is wrong with a file


def test_a_missing_file_says_how_to_deploy(path: Path) -> None:
    with pytest.raises(
        ConfMissing, match=r"hosted-engine.conf is missing: .* not deployed .* deploy this host"
    ):
        hosted_engine_conf.load(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"host_id=1\nfqdn=\xff\n", "byte 15 is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_text_has_to_be_written_again(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfDamaged, match=f"{why}; deploy this host"):
        hosted_engine_conf.load(path)


def test_a_directory_in_its_place_is_unreadable(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfUnreadable, match="Is a directory"):
        hosted_engine_conf.load(path)


def test_a_file_of_somebody_else_is_unreadable(path: Path) -> None:
    write(path).chmod(0)
    me = os.geteuid()
    if me == 0:  # root may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(ConfUnreadable, match=r"Permission denied; .* user vdsm .* \(vdsm:kvm 0440\)"):
            hosted_engine_conf.load(path)
    finally:
        os.seteuid(me)


# what is wrong with a value


@pytest.mark.parametrize(
    "key",
    [
        *("host_id", "vmid", "sdUUID", "spUUID", "fqdn", "domainType", "storage", "connectionUUID"),
        *("vm_disk_id", "vm_disk_vol_id", "metadata_image_UUID", "metadata_volume_UUID"),
        *("lockspace_image_UUID", "lockspace_volume_UUID"),
    ],
)
def test_a_key_that_is_needed_is_missed_absent_empty_and_none(path: Path, key: str) -> None:
    for error in (refused(path, (key,)), refused(path, **{key: ""}), refused(path, **{key: "None"})):
        assert (error.key, error.problem) == (key, "is missing")


@pytest.mark.parametrize("host_id", ["0", "2001", "-1", "1.0", "one", "\u0661", "1 2", "0x1", "9" * 400])
def test_a_host_id_is_a_number_from_1_to_2000(path: Path, host_id: str) -> None:
    error = refused(path, host_id=host_id)
    assert (error.key, "not a number from 1 to 2000" in error.problem) == ("host_id", True)


@pytest.mark.parametrize(
    "key", ["vmid", "sdUUID", "vm_disk_vol_id", "metadata_volume_UUID", "connectionUUID"]
)
@pytest.mark.parametrize("text", ["x", VM[:-1], VM + "0", f"{{{VM}}}", VM.replace("-", ""), f"urn:uuid:{VM}"])
def test_an_id_is_a_uuid_as_it_is_written_everywhere(path: Path, key: str, text: str) -> None:
    error = refused(path, **{key: text})
    assert (error.key, "not a UUID" in error.problem) == (key, True)


def test_a_uuid_in_capitals_is_the_same_uuid(path: Path) -> None:
    assert load(path, vmid=VM.upper()).vm_id == VM


def test_a_deployment_of_old_is_refused(path: Path) -> None:
    assert "3.5" in refused(path, spUUID=DOMAIN).problem


@pytest.mark.parametrize("text", ["False", "false", "true", "no", "", "None"])
def test_a_host_that_is_switched_off_is_refused(path: Path, text: str) -> None:
    assert f"is {text!r}, not True: HA is off on this host" in refused(path, configured=text).problem


def test_a_host_that_is_switched_on_is_not(path: Path) -> None:
    assert load(path, configured="True").host_id == 1


@pytest.mark.parametrize("bridge", ["a b", "a/b", "a\x1b"])
def test_a_bridge_that_is_no_name_is_refused(path: Path, bridge: str) -> None:
    assert "not the name of a network" in refused(path, bridge=bridge).problem


@pytest.mark.parametrize(
    ("values", "test"),
    [
        ({}, NetworkTest(kind=NetworkTestKind.DNS)),
        ({"network_test": "none", "gateway": ""}, NetworkTest(kind=NetworkTestKind.NONE)),
        ({"network_test": ""}, NetworkTest(kind=NetworkTestKind.PING, address="192.0.2.1")),
        (
            {"network_test": "ping", "gateway": "fe80::1%eth0"},
            NetworkTest(kind=NetworkTestKind.PING, address="fe80::1%eth0"),
        ),
        (
            {"network_test": "tcp", "tcp_t_address": "ns.example.org", "tcp_t_port": "53"},
            NetworkTest(kind=NetworkTestKind.TCP, address="ns.example.org", port=53),
        ),
    ],
)
def test_the_network_test_comes_with_what_it_needs(
    path: Path, values: dict[str, str], test: NetworkTest
) -> None:
    assert load(path, **values).network_test == test


def test_without_a_word_on_it_the_network_test_is_ping(path: Path) -> None:
    write(path, ("network_test",))
    assert hosted_engine_conf.load(path).network_test.kind is NetworkTestKind.PING


@pytest.mark.parametrize(
    ("values", "key", "problem"),
    [
        ({"network_test": "arp"}, "network_test", "is 'arp', not one of ping, dns, tcp, none"),
        ({"network_test": "ping", "gateway": ""}, "gateway", "is missing, which network_test=ping needs"),
        ({"network_test": "ping", "gateway": "None"}, "gateway", "is missing"),
        (
            {"network_test": "ping", "gateway": "192.0.2.1 192.0.2.2"},
            "gateway",
            "not a host name or an address",
        ),
        ({"network_test": "tcp", "tcp_t_port": "53"}, "tcp_t_address", "is missing, which network_test=tcp"),
        ({"network_test": "tcp", "tcp_t_address": "a"}, "tcp_t_port", "is missing, which network_test=tcp"),
        *(
            (
                {"network_test": "tcp", "tcp_t_address": "a", "tcp_t_port": port},
                "tcp_t_port",
                "not a number from 1",
            )
            for port in ("0", "65536", "-1", "domain", "\uff15\uff13")
        ),
    ],
)
def test_a_network_test_that_cannot_be_made_is_refused_by_the_key(
    path: Path, values: dict[str, str], key: str, problem: str
) -> None:
    error = refused(path, **values)
    assert error.key == key
    assert problem in error.problem


@pytest.mark.parametrize("key", ["conf_volume_UUID", "conf_image_UUID"])
def test_without_a_configuration_archive_it_is_not_up_to_date(path: Path, key: str) -> None:
    assert load(path).is_up_to_date
    assert not load(path, **{key: ""}).is_up_to_date


@pytest.mark.parametrize(
    "fqdn", ["engine example", "http://engine", "a/../b", "engine:80", "-x", "user@host", "x\x1b"]
)
def test_a_name_that_would_break_the_url_is_refused(path: Path, fqdn: str) -> None:
    assert "not a host name" in refused(path, fqdn=fqdn).problem


def test_an_unknown_storage_type_is_refused_with_those_that_are_known(path: Path) -> None:
    assert (
        "'posixfs', not one of nfs, nfs3, nfs4, fc, iscsi, glusterfs"
        in refused(path, domainType="posixfs").problem
    )


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("lockspace_volume_UUID", "metadata_volume_UUID"),
        ("lockspace_volume_UUID", "vm_disk_vol_id"),
        ("metadata_volume_UUID", "vm_disk_vol_id"),
    ],
)
def test_one_volume_for_two_purposes_is_a_contradiction(path: Path, key: str, other: str) -> None:
    error = refused(path, **{key: DEPLOYED[other]})
    assert {error.key, error.problem.split()[1].rstrip(":")} == {key, other}
    assert DEPLOYED[other] in error.problem


# what VDSM gets to connect the storage


def connections(path: Path, **values: str) -> tuple[int, list[dict[str, Any]]]:
    conf = load(path, **values)
    return conf.domain_type_number, [dict(c) for c in conf.connections]


NFS = {"id": CONNECTION, "connection": "nas.example.org:/exports/he", "user": "kvm"}


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ({}, "auto"),
        ({"nfs_version": ""}, "auto"),
        ({"nfs_version": "v3"}, "3"),
        ({"nfs_version": "v4_1"}, "4.1"),
        ({"domainType": "nfs3", "nfs_version": "v4_2"}, "3"),
        ({"domainType": "nfs4"}, "4"),
    ],
)
def test_nfs(path: Path, values: dict[str, str], version: str) -> None:
    assert connections(path, **values) == (1, [{**NFS, "protocol_version": version}])


def test_mount_options_go_along(path: Path) -> None:
    assert connections(path, mnt_options="soft")[1][0]["mnt_options"] == "soft"


def test_a_path_is_cleaned_up_so_that_vdsm_mounts_it_where_the_engine_does(path: Path) -> None:
    [connection] = connections(path, storage="nas.example.org:/exports//he/")[1]
    assert connection["connection"] == "nas.example.org:/exports/he"
    [connection] = connections(path, storage="[2001:db8::1]:/he")[1]
    assert connection["connection"] == "[2001:db8::1]:/he"


@pytest.mark.parametrize("storage", ["nas.example.org", ":/he", "nas:", "/he"])
def test_a_path_without_a_server_is_refused(path: Path, storage: str) -> None:
    assert "not like server:/path" in refused(path, storage=storage).problem


def test_glusterfs(path: Path) -> None:
    values = {"domainType": "glusterfs", "mnt_options": "backup-volfile-servers=b:c", "storage": "a:/he"}
    wanted = {
        **NFS,
        "connection": "a:/he",
        "vfs_type": "glusterfs",
        "mnt_options": "backup-volfile-servers=b:c",
    }
    assert connections(path, **values) == (7, [wanted])


def test_fibre_channel_has_nothing_to_connect(path: Path) -> None:
    assert connections(path, domainType="fc", storage="") == (2, [])


ISCSI = {
    "domainType": "iscsi",
    "storage": "192.0.2.7",
    "iqn": "iqn.2015-03.org.example:he",
    "portal": "1",
    "port": "3260",
    "user": "he",
    "password": "s3cret",
}


def test_iscsi_with_one_portal(path: Path) -> None:
    number, [connection] = connections(path, **ISCSI)
    identity = connection.pop("id")
    assert number == 3
    assert connection == {
        "connection": "192.0.2.7",
        "port": "3260",
        "iqn": "iqn.2015-03.org.example:he",
        "tpgt": "1",
        "user": "he",
        "password": "s3cret",
    }
    assert connections(path, **ISCSI)[1][0]["id"] == identity


def test_iscsi_with_one_target_on_several_portals_shares_the_rest(path: Path) -> None:
    values = ISCSI | {
        "storage": "192.0.2.7,192.0.2.8",
        "port": "3260,3261",
        "password": "a,b",
        "mnt_options": "x",
    }
    _, rows = connections(path, **values)
    assert [(r["connection"], r["port"]) for r in rows] == [("192.0.2.7", "3260"), ("192.0.2.8", "3261")]
    assert {(r["iqn"], r["tpgt"], r["user"], r["password"]) for r in rows} == {
        (ISCSI["iqn"], "1", "he", "a,b")
    }
    assert [r.get("mnt_options") for r in rows] == ["x", None]
    assert len({r["id"] for r in rows}) == 2


def test_iscsi_with_several_targets_takes_each_key_apart(path: Path) -> None:
    values = ISCSI | {
        "storage": "192.0.2.7,192.0.2.8",
        "port": "3260,3260",
        "iqn": "iqn.a,iqn.b",
        "portal": "1,2",
        "user": "u,v",
        "password": "p,q",
    }
    _, rows = connections(path, **values)
    assert [(r["iqn"], r["tpgt"], r["user"], r["password"]) for r in rows] == [
        ("iqn.a", "1", "u", "p"),
        ("iqn.b", "2", "v", "q"),
    ]


def test_iscsi_without_a_login(path: Path) -> None:
    values = ISCSI | {
        "user": "",
        "password": "",
        "iqn": "a,b",
        "storage": "x,y",
        "port": "1,2",
        "portal": "1,1",
    }
    _, rows = connections(path, **values)
    assert [(r["user"], r["password"]) for r in rows] == [("", "")] * 2


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("port", {"storage": "x,y"}),
        ("port", {"port": "iscsi"}),
        ("port", {"port": ""}),
        ("portal", {"portal": "default"}),
        ("portal", {"portal": ""}),
        ("iqn", {"iqn": ""}),
        ("iqn", {"iqn": "a,b,c", "storage": "x,y", "port": "1,2"}),
        ("portal", {"iqn": "a,b", "storage": "x,y", "port": "1,2"}),
        ("user", {"iqn": "a,b", "storage": "x,y", "port": "1,2", "portal": "1,1"}),
        ("password", {"iqn": "a,b", "storage": "x,y", "port": "1,2", "portal": "1,1", "user": "u,v"}),
    ],
)
def test_iscsi_keys_that_do_not_fit_are_named_without_the_password(
    path: Path, key: str, values: dict[str, str]
) -> None:
    error = refused(path, **(ISCSI | values))
    assert error.key == key
    assert "s3cret" not in str(error)


def test_a_password_reaches_vdsm_and_nothing_that_is_shown(path: Path) -> None:
    conf = load(path, **ISCSI)
    assert "s3cret" not in repr(conf)
    assert "s3cret" not in repr(conf.connections)
    assert "s3cret" not in f"{conf.connections}"
    assert json.loads(json.dumps(conf.connections))[0]["password"] == "s3cret"


# a file that changes


def test_a_change_is_noticed_by_a_look_at_the_file(path: Path) -> None:
    write(path)
    watched = hosted_engine_conf.Watched(path)
    assert not watched.changed()
    write(path, host_id="2")
    assert watched.changed()
    assert watched.changed()
    watched.remember()
    assert not watched.changed()


@pytest.mark.parametrize("how", ["removed", "replaced", "chmod"])
def test_a_file_that_goes_comes_or_becomes_readable_has_changed(path: Path, how: str) -> None:
    watched = hosted_engine_conf.Watched(path)
    assert not watched.changed()
    write(path)
    assert watched.changed()
    watched.remember()
    match how:
        case "removed":
            path.unlink()
        case "replaced":
            seen = path.stat()
            other = write(path.with_name("new"))
            os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
            other.rename(path)
        case "chmod":
            path.chmod(0o600)
    assert watched.changed()


@given(st.binary(max_size=300))
def test_no_content_raises_anything_else(content: bytes) -> None:
    path = Path(f"/proc/self/fd/{_memory(content)}")
    with suppress(NotConfigured):
        hosted_engine_conf.load(path)
    os.close(int(path.name))


def _memory(content: bytes) -> int:
    descriptor = os.memfd_create("conf")
    os.write(descriptor, content)
    return descriptor
