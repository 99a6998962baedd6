"""What no engine writes is named in a warning, once; what any engine from 3.1 to 4.5 writes is not."""

import pytest

from ovirt_he_agent.ovf import document, known, vmspec
from tests import golden_ovf
from tests.golden_ovf import S03, S06, altered, with_elements, with_items

LEAF = "66f6b7b8-62c6-4436-8e56-7e32bd157234"


def warnings(data: bytes) -> tuple[str, ...]:
    return document.read(data).warnings


def without_warnings(spec: vmspec.VmSpec) -> vmspec.VmSpec:
    return spec.but(warnings=())


@pytest.mark.parametrize(
    ("data", "where", "name"),
    [
        (with_elements(S06, "<Quantum>1</Quantum>"), "VM", "Quantum"),
        (with_elements(S06, "<x:Name xmlns:x='urn:x'>1</x:Name>"), "VM", "Name"),
        (with_elements(S06, '<Section xsi:type="ovf:QuantumSection_Type"/>'), "VM", "QuantumSection_Type"),
        (with_elements(S06, "<Section/>"), "VM", "Section"),
        (altered(S06, ("<References>", "<Quantum/><References>")), "Envelope", "Quantum"),
        (
            altered(S06, ("<References>", '<Section xsi:type="ovf:Quantum_Type"/><References>')),
            "Envelope",
            "Quantum_Type",
        ),
        (altered(S06, ("</References>", "<Quantum/></References>")), "References", "Quantum"),
        (altered(S06, ("<Disk ", "<Quantum/><Disk ")), "disk section", "Quantum"),
        (altered(S06, ("<Disk ", '<Disk ovf:quantum="1" ')), "Disk element", "quantum"),
        (altered(S06, ("</Disk>", "<Quantum/></Disk>")), "Disk element", "Quantum"),
        (altered(S06, ("<System>", "<Quantum/><System>")), "hardware section", "Quantum"),
        (altered(S06, ("<BootOrder>", "<Quantum/><BootOrder>")), "item", "Quantum"),
        (altered(S06, ("<rasd:Parent>", "<rasd:Quantum/><rasd:Parent>")), "item", "Quantum"),
        (altered(S06, ("<Type>ACTIVE</Type>", "<Type>ACTIVE</Type><Quantum/>")), "Snapshot", "Quantum"),
        (
            with_elements(
                S06,
                '<Section xsi:type="ovf:NumaNodeSection_Type"><NumaNode><Index>0</Index><Quantum/>'
                "</NumaNode></Section>",
            ),
            "NUMA node",
            "Quantum",
        ),
    ],
)
def test_unknown_element_is_a_warning_that_names_it_and_its_place(data: bytes, where: str, name: str) -> None:
    spec = document.read(data)
    assert len(spec.warnings) == 1, spec.warnings
    assert where in spec.warnings[0]
    assert name in spec.warnings[0]
    numa = spec.numa_cells
    assert without_warnings(spec).but(numa_cells=()) == document.read(golden_ovf.data(S06)), numa


def test_unknown_element_is_reported_once_and_their_number_is_bounded() -> None:
    assert len(warnings(with_items(S06, *["<rasd:ResourceType>0</rasd:ResourceType><New/>"] * 100))) == 1
    many = warnings(with_elements(S06, *(f"<New{i}/>" for i in range(10_000))))
    assert len(many) <= 51
    assert many[-1] == "9950 more warnings are not listed"


def test_names_in_warnings_are_cut() -> None:
    (warning,) = warnings(with_elements(S06, f"<{'N' * 10_000}/>"))
    assert len(warning) < 500
    data = altered(S06, ("<rasd:MACAddress>", "<rasd:MACAddress/><x>"), ("</rasd:MACAddress>", "</x>"))
    long_name = data.replace(b"<rasd:Name>nic1<", b"<rasd:Name>" + b"n" * 1_000_000 + b"<")
    assert all(len(warning) <= 1000 for warning in warnings(long_name))


def test_nothing_that_an_engine_writes_is_reported() -> None:
    elements = [
        f"<{name}/>"
        for name in sorted(known.CONTENT)
        if f"<{name}" not in golden_ovf.data(S03).decode()
        and name not in {"TemplateType", "default_display_type", "EngineXml"}
    ]
    sections = [f'<Section xsi:type="{kind}"/>' for kind in sorted(known.SECTIONS)]
    item = "".join(
        f"<{name.replace('{' + name[1:].partition('}')[0] + '}', 'rasd:')}/>"
        if name.startswith("{")
        else f"<{name}/>"
        for name in sorted(known.ITEM)
        if not name.endswith("}ResourceType") and name != "Type"
    )
    data = with_items(S03, f"<rasd:ResourceType>0</rasd:ResourceType><Type>hostdev</Type>{item}").decode()
    data = data.replace("</Content>", "".join([*elements, *sections]) + "</Content>")
    spec = document.read(data.encode())
    assert spec.warnings == ()


def test_instance_id_in_the_other_spelling_is_the_id() -> None:
    data = golden_ovf.data(S03).replace(b"rasd:InstanceId>", b"rasd:InstanceID>")
    assert document.read(data) == document.read(golden_ovf.data(S03))
