"""Bad input of every kind under the real daemon: told, not started, healed. A case is a row."""

import json
import os
from collections.abc import Sequence

import pytest

from ovirt_he_agent.sim import deployment
from tests.deployed_host import CA, CERTIFICATE, KEY, VM, DeployedHost
from tests.troubles import (
    Outcomes,
    Trouble,
    certificates,
    conf,
    conf_values,
    cut,
    described,
    ha_conf,
    is_told_and_heals,
    overwritten,
    play,
    sim,
    slot,
    written,
)

pytestmark = pytest.mark.real("sanlock", "openssl")

OTHER = "11111111-2222-4333-8444-555555555555"

# the definition

DOMAIN = deployment.DOMAIN_ID
DISK = f"volume {deployment.VM_DISK.volume_id} of disk he_virtio_disk"
FOREIGN = {
    "Updated": True,
    "Last Updated": "Fri Jan 16 16:45:00 UTC 2026",
    "Storage Domains": [{"uuid": OTHER}],
    "Disk Description": "OVF_STORE",
}
BOMB = '<!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><ovf:Envelope '
NO_STORE = (f"storage domain {DOMAIN} has no OVF_STORE", "see in the engine that the domain is active")
SAVE = "save the VM once in the engine"
AGAIN = "a running engine writes its OVF_STOREs again"
DEFINITION = "engine VM's definition"

STORE_TROUBLES = (
    Trouble("no OVF_STORE", described('{"DiskAlias":"data"}'), NO_STORE, doctor=DEFINITION),
    Trouble("stores empty", cut(0), (DOMAIN, VM, "no archive in it", AGAIN)),
    Trouble("stores torn", overwritten(1024, b"\xff" * 4096), (DOMAIN, VM, "damaged at byte 1024", AGAIN)),
    Trouble("stores truncated", cut(3000), (DOMAIN, VM, "past the end at byte 3000", AGAIN)),
    Trouble(
        "stores foreign", described(json.dumps(FOREIGN)), (*NO_STORE, f"not this domain's, but of {OTHER}")
    ),
    Trouble("VM not in the stores", written(engine_vm=False), (f"is {VM}.ovf", "check the VM's id")),
    Trouble("vmid not in the stores", conf_values(vmid=OTHER), (f"is {OTHER}.ovf", "check the VM's id")),
)
DOCUMENT_TROUBLES = (
    Trouble("OVF no XML", written({"<ovf:Envelope": "Envelope"}), (f"'{VM}.ovf'", "not well formed", AGAIN)),
    Trouble(
        "OVF an entity bomb",
        written({"<ovf:Envelope ": BOMB, "<Comment>": "<Comment>&b;"}),
        (f"'{VM}.ovf'", "document type declaration", AGAIN),
    ),
    Trouble(
        "OVF of another VM",
        written({f'<Section ovf:id="{VM}"': f'<Section ovf:id="{OTHER}"'}),
        (f"'{VM}.ovf' holds the OVF of VM {OTHER}", AGAIN),
    ),
    Trouble(
        "no storage domain in the OVF",
        written({f"<rasd:StorageId>{DOMAIN}</rasd:StorageId>": ""}),
        (VM, "storage domain", SAVE),
        doctor=DEFINITION,
    ),
)

# the deployment, and what operators switch

CONF = "etc/ovirt-hosted-engine/hosted-engine.conf"
HA_CONF = "var/lib/ovirt-hosted-engine-ha/ha.conf"
BOARD = deployment.WHITEBOARD.volume_id
DEPLOY = "deploy this host"
SET = "hosted-engine --set-maintenance"
WRITE = "`ovirt-he-agent maintenance none`"
LOCAL = "local_maintenance=True\nlocal_maintenance_manual=False\n"

CONF_TROUBLES: tuple[Trouble, ...] = (
    Trouble("conf missing", conf(None), (CONF, "is missing", DEPLOY), doctor="hosted-engine.conf"),
    Trouble("conf not UTF-8", conf(b"fqdn=\xe9ngine\n"), (CONF, "byte 5", "UTF-8")),
    Trouble("conf empty", conf(b"\n"), (CONF, "empty")),
    Trouble("conf with bad host_id", conf_values(host_id="2001"), (CONF, "host_id", "'2001'", DEPLOY)),
    Trouble(
        "conf names a volume twice", conf_values(lockspace_volume_UUID=BOARD), (CONF, "lockspace", BOARD)
    ),
    Trouble("conf of version 3.5", conf_values(spUUID=OTHER), (CONF, "spUUID", "3.5")),
)


def _forbid(host: DeployedHost) -> None:
    host.conf_file.chmod(0)


def _allow(host: DeployedHost) -> None:
    host.conf_file.chmod(0o440)


if os.geteuid() != 0:  # root may read every file
    CONF_TROUBLES += (Trouble("conf forbidden", _forbid, (CONF, "Permission denied"), _allow),)

FLAG_TROUBLES = (
    Trouble("ha.conf missing", ha_conf(None), (HA_CONF, "is missing", WRITE)),
    Trouble("ha.conf garbage", ha_conf("local_maintenance=x\n"), (HA_CONF, "'x'", WRITE), doctor="ha.conf"),
    Trouble("local maintenance", ha_conf(LOCAL), ("local maintenance", "is on", SET)),
    Trouble("slot 0 garbage", slot(0, b"\xffgarbage"), ("slot 0", "garbage", SET), doctor="whiteboard"),
    Trouble("global maintenance", slot(0, b"maintenance=1"), ("global maintenance", "is on", SET)),
)

# VDSM

PKI = "etc/pki/vdsm"
AWAY = "no session with VDSM at 127.0.0.1:"
BACK = DeployedHost.restore_certificates

VDSM_TROUBLES = (
    Trouble(
        "certificate missing",
        certificates(CERTIFICATE, foreign=False),
        (AWAY, f"{PKI}/{CERTIFICATE} cannot be read", "host-deploy writes it"),
        heal=BACK,
        alone=False,
        doctor="VDSM",
    ),
    Trouble(
        "certificate foreign",
        certificates(KEY, CERTIFICATE, foreign=True),
        (AWAY, "certificate", f"{PKI}/{CERTIFICATE}", "signed by the CA that VDSM trusts"),
        heal=BACK,
        alone=False,
    ),
    Trouble(
        "certificate of VDSM foreign",
        certificates(CA, foreign=True),
        (AWAY, "VDSM's certificate does not chain to", f"{PKI}/{CA}", "check that this is the CA"),
        heal=BACK,
        alone=False,
    ),
    Trouble(
        "VDSM recovering",
        sim("Sim.recovering", seconds=3600),
        ("error 99", "VDSM is starting: wait"),
        heal=sim("Sim.heal"),
        alone=False,
    ),
)

TROUBLES = (*VDSM_TROUBLES, *STORE_TROUBLES, *DOCUMENT_TROUBLES, *CONF_TROUBLES, *FLAG_TROUBLES)


PLAYED = "test_it_is_told_and_nothing_started_until_it_heals"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, hosts: Sequence[DeployedHost]) -> Outcomes[Trouble]:
    """Of those that this run asks for."""
    chosen = {item.name for item in request.session.items}
    asked = [trouble for trouble in TROUBLES if f"{PLAYED}[{trouble}]" in chosen]
    return play(hosts, asked, is_told_and_heals)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_it_is_told_and_nothing_started_until_it_heals(outcomes: Outcomes[Trouble], trouble: Trouble) -> None:
    problem = outcomes[trouble]
    if problem is not None:
        raise problem
