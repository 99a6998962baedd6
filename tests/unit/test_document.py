"""The OVF reader: every sample as expected, and each rule on its own."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovirt_he_agent.ovf import document, facts, problems, safe_xml, vmspec
from tests import golden_ovf
from tests.golden_ovf import S01, S02, S03, S05, S06, altered, with_elements, with_items, without


def refused(data: bytes, *words: str) -> problems.BadDocument:
    with pytest.raises(problems.BadDocument) as caught:
        document.read(data)
    for word in words:
        assert word.lower() in str(caught.value).lower()
    return caught.value


def warned(spec: vmspec.VmSpec, *words: str) -> bool:
    return any(all(word.lower() in warning.lower() for word in words) for warning in spec.warnings)


# The samples


@pytest.mark.parametrize("expected", golden_ovf.expectations(), ids=lambda e: str(e["file"]))
def test_sample_is_read_as_expected(expected: dict[str, Any]) -> None:
    data = golden_ovf.data(expected["file"])
    if expected["expect"] == "refuse":
        refused(data)
        return
    spec = document.read(data)
    shown = json.loads(json.dumps(facts.of(spec)))
    not_output = {"expect", "file", "reason", "warnings_mention"}
    for key in expected.keys() - not_output:
        assert golden_ovf.as_asked(shown[key], expected[key]) == expected[key], key
    for words in expected.get("warnings_mention", []):
        assert warned(spec, *words)
    if expected["expect"] == "accept" and expected["file"] != golden_ovf.S04:
        assert spec.warnings == ()


def test_every_fact_has_its_key_even_in_the_oldest_document() -> None:
    oldest, newest = (
        facts.of(document.read(golden_ovf.data(S01))),
        facts.of(document.read(golden_ovf.data(S03))),
    )
    assert oldest.keys() == newest.keys()
    assert oldest["nics"][0].keys() == newest["nics"][0].keys()
    assert oldest["disks"][0].keys() == newest["disks"][0].keys()


# The envelope


@pytest.mark.parametrize("namespace", document.NAMESPACES)
def test_both_spellings_of_the_namespace_are_read(namespace: str) -> None:
    data = golden_ovf.data(S05).replace(
        b'"http://schemas.dmtf.org/ovf/envelope/1"', f'"{namespace}"'.encode()
    )
    assert document.read(data).ovf_namespace == namespace


def test_prefixes_do_not_matter() -> None:
    text = golden_ovf.data(S06).decode()
    renamed = text.replace("rasd:", "r:").replace("xmlns:rasd", "xmlns:r").replace("xmlns:r=", "xmlns:r=")
    renamed = renamed.replace("<ovf:", "<o:").replace("</ovf:", "</o:").replace(" ovf:", " o:")
    renamed = renamed.replace("xmlns:ovf=", "xmlns:o=").replace("xsi:type", "s:type").replace(":xsi=", ":s=")
    assert document.read(renamed.encode()) == document.read(text.encode())


def test_document_after_one_of_the_other_namespace_is_read_alike() -> None:
    alone = document.read(golden_ovf.data(S02))
    document.read(golden_ovf.data(S05))
    assert document.read(golden_ovf.data(S02)) == alone


def test_comments_and_cdata_do_not_split_a_text() -> None:
    data = altered(S06, ("<Name>engine-snap</Name>", "<Name>eng<!-- x -->ine<![CDATA[-<s>]]>nap</Name>"))
    assert document.read(data).name == "engine-<s>nap"


def test_ova_dialect_is_named() -> None:
    data = altered(S06, ("<Content ovf:id", "<VirtualSystem ovf:id"), ("</Content>", "</VirtualSystem>"))
    refused(data, "Content", ".ova")


def test_two_vms_in_one_document_are_refused() -> None:
    refused(altered(S06, ("</Content>", "</Content><Content/>")), "2 Content")


def test_vm_id_that_is_no_uuid_is_refused() -> None:
    vm_id = "c576a701-45be-469c-9919-7fd34354dcc8"
    for wrong in ("", "x", vm_id + "0", f" {vm_id}"):
        refused(altered(S06, (f'ovf:id="{vm_id}" ovf:required', f'ovf:id="{wrong}" ovf:required')), "id")


def test_template_is_named_by_any_of_its_marks() -> None:
    for data in (
        with_elements(S06, "<TemplateType>TEMPLATE</TemplateType>"),
        altered(
            S06,
            ("<DefaultDisplayType>2</DefaultDisplayType>", "<default_display_type>2</default_display_type>"),
        ),
        altered(
            S06,
            (
                "<TemplateId>00000000-0000-0000-0000-000000000000",
                "<TemplateId>c576a701-45be-469c-9919-7fd34354dcc8",
            ),
        ),
    ):
        assert isinstance(refused(data, "template"), problems.IsTemplate)
        assert document.identify(data).is_template


def test_missing_parts_are_refused_by_name() -> None:
    refused(altered(S06, ("ovf:VirtualHardwareSection_Type", "ovf:Other")), "hardware section")
    refused(altered(S06, ("<rasd:ResourceType>3<", "<rasd:ResourceType>99<")), "cpu item")
    refused(altered(S06, ("<rasd:ResourceType>4<", "<rasd:ResourceType>99<")), "memory item")


def test_identity_needs_no_devices() -> None:
    data = altered(S06, ("<rasd:ResourceType>4<", "<rasd:ResourceType>99<"))
    assert document.identify(data) == document.Identity(
        vm_id="c576a701-45be-469c-9919-7fd34354dcc8",
        name="engine-snap",
        generation=12,
        export_date="2019/10/10 10:10:10",
        is_template=False,
    )


def test_newer_identity_has_the_higher_generation_then_the_later_date() -> None:
    def identity(generation: int | None, date: str | None) -> document.Identity:
        return document.Identity(
            vm_id="", name=None, generation=generation, export_date=date, is_template=False
        )

    order = [
        identity(None, None),
        identity(None, "2020/01/01 00:00:00"),
        identity(9, "2021/01/01 00:00:00"),
        identity(10, "2020.01.01 00:00:00"),
        identity(10, "2020/01/02 00:00:00"),
    ]
    assert sorted(reversed(order), key=lambda i: i.newness) == order


# Hostile input


def test_doctype_is_refused_wherever_it_may_stand() -> None:
    body = golden_ovf.data(S06).decode().partition("?>")[2]
    for prolog in (
        "<!DOCTYPE x>",
        '<?xml version="1.0"?><!-- <a> --><?pi <b> ?><!DOCTYPE x>',
        '\n<!-- - -->\n<!DOCTYPE x [<!ENTITY a "b">]>',
    ):
        assert isinstance(refused((prolog.lstrip() + body).encode(), "DOCTYPE"), problems.Hostile)


def test_doctype_in_utf_16_is_refused() -> None:
    body = golden_ovf.data(S06).decode().partition("?>")[2]
    refused(('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x>' + body).encode("utf-16"), "DOCTYPE")


def test_the_word_doctype_in_a_text_is_no_doctype() -> None:
    data = altered(S06, ("with a snapshot", "&lt;!DOCTYPE x&gt;"))
    assert document.read(data).description == "<!DOCTYPE x>"


def test_other_encodings_are_read_or_named() -> None:
    text = golden_ovf.data(S06).decode().replace("with a snapshot", "Grüße")
    latin = text.replace("UTF-8", "ISO-8859-1").encode("latin-1")
    assert document.read(latin).description == "Grüße"
    assert document.read(text.replace("UTF-8", "UTF-16").encode("utf-16")).description == "Grüße"
    assert document.read(b"\xef\xbb\xbf" + text.encode()).description == "Grüße"
    refused(text.encode("latin-1"), "UTF-8")
    refused(text.replace("UTF-8", "UTF-16").encode(), "UTF-16")
    refused(text.encode("utf-16"), "declares the encoding UTF-8 but is in UTF-16")
    refused(text.replace("UTF-8", "punycode").encode(), "punycode")


def test_zeros_after_the_document_are_padding() -> None:
    assert document.read(golden_ovf.data(S06) + bytes(512)) == document.read(golden_ovf.data(S06))


@pytest.mark.parametrize(
    "filler",
    [
        b"x" * safe_xml.MAX_BYTES,
        b"<a/>" * 400_000,
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b"<a>" * 100 + b"</a>" * 100,
        b"<a " + b" ".join(b"a%d=''" % i for i in range(400_000)) + b"/>",
    ],
    ids=["size", "elements", "depth", "some depth", "attributes"],
)
def test_limits_are_kept(filler: bytes) -> None:
    refused(golden_ovf.data(S06).replace(b"</Content>", filler + b"</Content>"))


def test_long_lists_in_one_text_are_refused() -> None:
    refused(altered(S06, ("<UserDefinedProperties>", "<UserDefinedProperties>" + "a=1;" * 20_000)), "parts")
    refused(altered(S06, ("{type=pci", "{" + "a=1," * 1_000 + "type=pci")), "parts")


# The VM's own elements


@pytest.mark.parametrize(
    ("unit", "quantity", "memory_mib"),
    [
        ("MegaBytes", "4096", 4096),
        ("MB", "4096", 4096),
        ("byte * 2^20", "4096", 4096),
        ("byte*2^30", "4", 4096),
        ("bytes * 2^10", "4194304", 4096),
        ("GigaBytes", "4", 4096),
        ("KiloBytes", "2048", 2),
        ("byte", "1048576", 1),
    ],
)
def test_memory_unit_is_converted(unit: str, quantity: str, memory_mib: int) -> None:
    assert document.read(memory(unit, quantity)).memory_mib == memory_mib


@pytest.mark.parametrize(
    ("unit", "quantity"),
    [
        ("", "4096"),
        ("bananas", "4096"),
        ("byte * 10^6", "4096"),
        ("byte * 2^999999999", "1"),
        ("KB", "1500"),
        ("MegaBytes", ""),
        ("MegaBytes", "4096.0"),
        ("MegaBytes", "4_096"),
        ("MegaBytes", "-1"),
        ("MegaBytes", "0"),
        ("MegaBytes", "٤"),
        ("MegaBytes", "9" * 5000),
    ],
)
def test_memory_that_is_unclear_is_refused(unit: str, quantity: str) -> None:
    refused(memory(unit, quantity), "memory item")


def memory(unit: str, quantity: str) -> bytes:
    return altered(
        S06,
        (
            "<rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:VirtualQuantity>6144<",
            f"<rasd:AllocationUnits>{unit}</rasd:AllocationUnits><rasd:VirtualQuantity>{quantity}<",
        ),
    )


@pytest.mark.parametrize("element", ["MinAllocatedMem", "MaxMemorySizeMb", "NumOfIoThreads"])
def test_count_that_is_no_number_is_refused(element: str) -> None:
    text = golden_ovf.data(S06).decode()
    value = text.partition(f"<{element}>")[2].partition("<")[0]
    refused(altered(S06, (f"<{element}>{value}<", f"<{element}>many<")), element)


@pytest.mark.parametrize(
    "element", ["num_of_sockets", "cpu_per_socket", "threads_per_cpu", "max_num_of_vcpus"]
)
def test_cpu_count_that_is_no_number_is_refused(element: str) -> None:
    refused(altered(S06, (f"<rasd:{element}>", f"<rasd:{element}>x")), "cpu item", element)


def test_vcpus_are_the_product_and_never_virtual_quantity() -> None:
    data = without(S06, "rasd:num_of_sockets", "rasd:VirtualQuantity")
    spec = document.read(altered(S06, ("<rasd:VirtualQuantity>8<", "<rasd:VirtualQuantity>99<")))
    assert spec.vcpus == 8
    assert document.read(data).sockets == 1


def test_absent_elements_are_none_or_their_default() -> None:
    spec = document.read(
        without(
            S06,
            "Name",
            "Description",
            "MinAllocatedMem",
            "MaxMemorySizeMb",
            "Origin",
            "BiosType",
            "UseHostCpu",
            "CustomEmulatedMachine",
            "CustomCpuName",
            "DefaultDisplayType",
            "ClusterCompatibilityVersion",
            "NumOfIoThreads",
            "IsStateless",
            "IsRunAndPause",
            "IsBootMenuEnabled",
            "Generation",
            "ExportDate",
            "UserDefinedProperties",
            "PredefinedProperties",
            "rasd:max_num_of_vcpus",
            "rasd:threads_per_cpu",
        )
    )
    assert (spec.name, spec.description, spec.max_memory_mib, spec.origin, spec.bios) == (None,) * 5
    assert (spec.machine, spec.cpu, spec.cluster_version, spec.max_vcpus) == (None,) * 4
    assert (spec.generation, spec.export_date, spec.default_display_type_raw) == (None,) * 3
    assert spec.guaranteed_memory_mib == spec.memory_mib
    assert (spec.iothreads, spec.threads_per_core, spec.custom_properties) == (0, 1, {})
    assert (spec.stateless, spec.start_paused, spec.boot_menu, spec.hosted_engine) == (False,) * 4
    assert not spec.host_cpu_passthrough
    assert warned(spec, "Name")


def test_empty_description_is_a_text_and_an_absent_one_is_none() -> None:
    assert document.read(altered(S06, ("with a snapshot", ""))).description == ""
    assert document.read(altered(S06, ("with a snapshot", " a\n\tb "))).description == " a\n\tb "


@pytest.mark.parametrize(("number", "bios"), list(enumerate(vmspec.Bios)))
def test_bios_number_becomes_its_word(number: int, bios: vmspec.Bios) -> None:
    assert document.read(altered(S06, ("<BiosType>0<", f"<BiosType>{number}<"))).bios is bios


@pytest.mark.parametrize("number", ["4", "-1", "Q35_OVMF", "01"])
def test_unknown_bios_is_refused(number: str) -> None:
    refused(altered(S06, ("<BiosType>0<", f"<BiosType>{number}<")), "BiosType")


def test_custom_compatibility_version_overrides_the_cluster() -> None:
    both = with_elements(S06, "<CustomCompatibilityVersion>4.2</CustomCompatibilityVersion>")
    assert document.read(both).cluster_version == "4.2"
    empty = with_elements(S06, "<CustomCompatibilityVersion></CustomCompatibilityVersion>")
    assert document.read(empty).cluster_version == "4.3"


@pytest.mark.parametrize(
    ("origin", "shown", "hosted_engine"),
    [("5", 5, True), ("6", 6, True), ("10", 10, False), ("11", None, False)],
)
def test_origin_says_whether_it_is_the_engine_vm(origin: str, shown: int | None, hosted_engine: bool) -> None:
    spec = document.read(altered(S06, ("<Origin>3<", f"<Origin>{origin}<")))
    assert (spec.origin, spec.hosted_engine) == (shown, hosted_engine)
    assert warned(spec, "Origin") is (shown is None)


def test_serial_number_policy_outside_the_enum_is_none_with_a_warning() -> None:
    spec = document.read(with_elements(S06, "<SerialNumberPolicy>1</SerialNumberPolicy>"))
    assert spec.serial_number_policy == 1
    spec = document.read(with_elements(S06, "<SerialNumberPolicy>7</SerialNumberPolicy>"))
    assert spec.serial_number_policy is None
    assert warned(spec, "SerialNumberPolicy")


def test_properties_are_split_at_semicolons_and_the_first_equals_sign() -> None:
    data = altered(
        S06,
        ("<PredefinedProperties>", "<PredefinedProperties>a=1;both=predefined;flag"),
        ("<UserDefinedProperties>", "<UserDefinedProperties>b= x=y,{z} ;both=user;c=;"),
    )
    assert document.read(data).custom_properties == {
        "a": "1",
        "both": "user",
        "flag": "",
        "b": " x=y,{z} ",
        "c": "",
    }


def test_properties_that_only_the_audit_log_has_are_reported_as_lost() -> None:
    logged = "<exportonly_userDefinedProperties>a=1</exportonly_userDefinedProperties>"
    assert document.read(with_elements(S06, logged)).warnings == ()
    spec = document.read(altered(S06, ("<UserDefinedProperties></UserDefinedProperties>", logged)))
    assert spec.custom_properties == {}
    assert warned(spec, "exportonly_userDefinedProperties")


def test_boolean_that_is_none_keeps_the_default_with_a_warning() -> None:
    spec = document.read(altered(S06, ("<IsStateless>false", "<IsStateless>maybe")))
    assert not spec.stateless
    assert warned(spec, "IsStateless", "maybe")
    assert document.read(altered(S06, ("<IsStateless>false", "<IsStateless>TRUE"))).stateless
    assert document.read(altered(S06, ("<IsStateless>false", "<IsStateless>null"))).warnings == ()


def test_nested_documents_of_snapshots_are_not_read() -> None:
    item = "<Item><rasd:ResourceType>10</rasd:ResourceType></Item>"
    data = altered(S06, ("<Type>REGULAR</Type>", f"<Type>REGULAR</Type>{item}"))
    assert document.read(data).nics == document.read(golden_ovf.data(S06)).nics


def test_numa_cells_are_listed_in_order() -> None:
    section = (
        '<Section xsi:type="ovf:NumaNodeSection_Type">'
        "<NumaNode><id>x</id><Index>1</Index><cpuIdList>4,5</cpuIdList><MemTotal>2048</MemTotal>"
        "<vdsNumaNodeList>0,1</vdsNumaNodeList><NumaTuneMode>strict</NumaTuneMode></NumaNode>"
        "<NumaNode><Index>0</Index><cpuIdList></cpuIdList><MemTotal>4096</MemTotal></NumaNode></Section>"
    )
    assert document.read(with_elements(S06, section)).numa_cells == (
        vmspec.NumaCell(index=1, cpus=(4, 5), memory_mib=2048, host_nodes=(0, 1), tune_mode="strict"),
        vmspec.NumaCell(index=0, cpus=(), memory_mib=4096, host_nodes=(), tune_mode=None),
    )
    refused(with_elements(S06, section.replace("2048", "much")), "NUMA node 1", "MemTotal")
    assert warned(document.read(with_elements(S06, section.replace("4,5", "4,x"))), "cpuIdList")


def test_rest_of_the_general_elements() -> None:
    spec = document.read(
        with_elements(
            S06,
            "<CpuPinning>0#1_1#2</CpuPinning><CustomSerialNumber>SN 1</CustomSerialNumber>",
            "<LeaseDomainId>76a79a20-8ce3-432d-8c1e-112b88ef9510</LeaseDomainId>",
            "<VncKeyboardLayout>none</VncKeyboardLayout>",
        )
    )
    assert (spec.cpu_pinning, spec.custom_serial_number) == ("0#1_1#2", "SN 1")
    assert (spec.lease_domain_id, spec.vnc_keymap) == (golden_ovf.DOMAIN, "none")


# Any bytes


@given(st.binary(max_size=2000))
def test_any_bytes_end_in_a_typed_error(data: bytes) -> None:
    refused(data)


@settings(max_examples=300)
@given(st.sampled_from([S01, S02, S03, S05, S06]), st.data())
def test_altered_document_is_read_or_refused(name: str, data: st.DataObject) -> None:
    text = golden_ovf.data(name)
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        at = data.draw(st.integers(min_value=0, max_value=len(text)))
        cut = data.draw(st.integers(min_value=0, max_value=40))
        new = data.draw(
            st.one_of(
                st.binary(max_size=10),
                st.sampled_from(
                    [b"", b"0", b"null", b"</Item>", b"<Item>", b'"', b"-", b"{}", b"&lt;", b";="]
                ),
            )
        )
        text = text[:at] + new + text[at + cut :]
    try:
        spec = document.read(text)
    except problems.BadDocument:
        return  # anything else fails this test
    json.dumps(facts.of(spec))


_VALUE = st.one_of(
    st.text(
        st.characters(codec="utf-8", exclude_characters="<&\r\x00", exclude_categories=["Cc"]), max_size=20
    ),
    st.sampled_from(
        ["", "null", "true", "0", "1", "-1", "5", "9" * 30, "{}", "{a}", "a=b", "=;=", "/", "x/y"]
    ),
)


@settings(max_examples=300)
@given(st.sampled_from([S01, S03, S06]), st.data())
def test_any_value_of_any_element_is_read_or_refused(name: str, data: st.DataObject) -> None:
    parts = golden_ovf.data(name).decode().split("><")
    leaves = [i for i, part in enumerate(parts) if ">" in part and "</" in part]
    i = data.draw(st.sampled_from(leaves))
    start, end = parts[i].index(">") + 1, parts[i].rindex("</")
    parts[i] = parts[i][:start] + data.draw(_VALUE) + parts[i][end:]
    try:
        json.dumps(facts.of(document.read("><".join(parts).encode())))
    except problems.BadDocument:
        pass


def test_items_without_a_record_are_devices_all_the_same() -> None:
    spec = document.read(with_items(S06, "<rasd:ResourceType>20</rasd:ResourceType>"))
    assert spec.video[-1] == vmspec.Video(device=None, spec={})
