"""What is made of every sample is what VDSM wants: the emulator, which is stricter, prepares it."""

import pytest

from ovirt_he_agent.ovf import document, domainxml
from ovirt_he_agent.ovf.host_facts import UNKNOWN
from ovirt_he_agent.sim.vdsm import domain_xml
from tests import golden_ovf

PLACE = domain_xml.PreparedImage(path="/prepared", lease_path="/prepared.lease", lease_offset=0)
ACCEPTED = [e["file"] for e in golden_ovf.expectations() if e["expect"] in ("accept", "warn")]


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_definition_is_prepared_with_a_lease_for_each_exclusive_disk(name: str) -> None:
    spec = document.read(golden_ovf.data(name))
    made = domainxml.define(spec, UNKNOWN.but(without_missing_nics=True))
    prepared = domain_xml.prepare(domain_xml.check_call(domain_xml.read(made.xml)), lambda image: PLACE)
    held = {(lease.lockspace, lease.resource) for lease in prepared.leases}
    assert held >= {(v.domain_id, v.volume_id) for v in made.volumes if v.exclusive}
    assert [image.volume_id for image in prepared.images] == [v.volume_id for v in made.volumes]
