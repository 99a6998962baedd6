"""vm.conf: what we write comes back unchanged, old files are understood, all else is an error by name."""

import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovirt_he_agent.ovf import document, vmparams
from ovirt_he_agent.ovf.vmconf import file, reader, writer
from tests import golden_ovf

GOLDEN = Path(__file__).parents[1] / "golden" / "vmconf"
SAMPLES = (golden_ovf.S01, golden_ovf.S02, golden_ovf.S03, golden_ovf.S04, golden_ovf.S05, golden_ovf.S06)

# Text that hurts: structure, comments, line ends of every kind, words that mean something to a reader
HOSTILE = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="ab=:,{}# \t\n\r\x0b\x1c\x85\xa0\u2028\ufeffNone\0é", max_size=12),
    st.sampled_from(["None", "", "{", "}", "{}", "a,b", "a}b", "devices", "xmlBase64", "x\nvmId=evil"]),
)
MAPS = st.dictionaries(HOSTILE, HOSTILE | st.dictionaries(HOSTILE, HOSTILE, max_size=2), max_size=4)
PARAMS = st.fixed_dictionaries(
    {"devices": st.lists(MAPS, max_size=3), "custom": st.dictionaries(HOSTILE, HOSTILE, max_size=3)},
    optional={"xml": st.text(max_size=30), "cpuPinning": MAPS, "guestNumaNodes": st.lists(MAPS, max_size=2)},
)


@given(plain=st.dictionaries(HOSTILE | st.sampled_from(["vmName", "vt", "moreImages"]), HOSTILE), more=PARAMS)
def test_what_is_written_is_read_unchanged_whatever_the_texts_hold(
    plain: dict[str, str], more: dict[str, Any]
) -> None:
    given_params = {key: value for key, value in plain.items() if key not in more} | more
    written = writer.write(given_params)
    read = reader.parse(written.text)
    assert writer.write(read).text == written.text
    assert writer.write(read).left_out == ()
    for key, value in read.items():
        if isinstance(value, str):
            assert given_params[key] == value
    assert reader.parse(written.with_comments("one\nvmId=evil")) == read
    if not written.left_out:
        assert read == {key: value for key, value in given_params.items() if value or isinstance(value, str)}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_vm_conf_of_a_sample_comes_back_but_for_what_is_listed(name: str) -> None:
    spec = document.read(golden_ovf.data(name))
    params = vmparams.of(spec, "<domain>\n# not a comment\n</domain>")
    written = writer.write(params)
    read = reader.parse(written.text)
    assert read["xml"] == params["xml"]
    assert (read == params) is (name != golden_ovf.S03)
    assert writer.write(read).text == written.text


def test_what_cannot_be_written_stands_in_a_comment_and_nowhere_else() -> None:
    params = {
        "vmName": "engine\nxmlBase64=ZXZpbA==",
        "memSize": "4096",
        "custom": {"note": "a # b", "hugepages": "2048"},
        "devices": [{"type": "interface", "network": "a,linkActive:false", "address": {"slot": "}"}}],
    }
    written = writer.write(params)
    assert written.text == "memSize=4096\ncustom_hugepages=2048\ndevices={type:interface,address:{}}\n"
    assert [entry.partition(":")[0] for entry in written.left_out] == [
        "vmName",
        "custom.note",
        "devices[0].network",
        "devices[0].address.slot",
    ]
    text = written.with_comments("Hello")
    assert all(line.startswith("#") for line in text.removesuffix(written.text).splitlines())
    assert r"vmName: 'engine\nxmlBase64=ZXZpbA=='" in text


def test_a_value_that_is_none_has_no_line() -> None:
    written = writer.write({"cpuType": None, "devices": [{"type": "rng", "alias": None}], "xml": None})
    assert written == writer.VmConf(text="devices={type:rng}\n", left_out=())


def test_the_samples_vm_conf_is_as_agreed() -> None:
    s02, s03 = (document.read(golden_ovf.data(name)) for name in (golden_ovf.S02, golden_ovf.S03))
    assert s02.engine_xml is not None
    assert file.of(s02, s02.engine_xml.text) == (GOLDEN / "s02.conf").read_text()
    assert writer.write(vmparams.of(s03)).with_comments() == (GOLDEN / "s03.conf").read_text()


def test_the_file_of_a_fresh_deployment_is_understood() -> None:
    params = reader.read((GOLDEN / "template.conf").read_bytes())
    assert params["vmName"] == "HostedEngine"
    assert params["maxVCpus"] == "16"
    cd, disk, *_ = params["devices"]
    assert cd["address"] == {"controller": "0", "target": "0", "unit": "0", "bus": "1", "type": "drive"}
    assert cd["specParams"] == {}
    assert (disk["shared"], disk["bootOrder"], disk["propagateErrors"]) == ("exclusive", "1", "off")
    assert [device["type"] for device in params["devices"]] == [
        *("disk", "disk", "controller", "interface", "console", "video", "graphics", "rng")
    ]


def test_blanks_comments_and_windows_line_ends_do_not_matter() -> None:
    params = reader.read((GOLDEN / "v34.conf").read_bytes())
    assert params["vmId"] == "5f4c5ac1-6d30-4e56-a5f0-6d6ed7d1d1a0"
    assert params["devices"][0]["path"] == ""
    assert params["tabletEnable"] == "true"


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("a=b#c", {"a": "b"}),
        ("a b = c\td", {"ab": "cd"}),
        ("a=1\na=2", {"a": "2"}),
        ("flag", {"flag": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("devices={a:b,a:c}", {"devices": [{"a": "c"}]}),
        ("devices={a:{b:c},d:e,}", {"devices": [{"a": {"b": "c"}, "d": "e"}]}),
        ("devices={a:b:{c}", {"devices": [{"a": "b:{c"}]}),
        ("devices=word\ndevices={}", {"devices": ["word", {}]}),
        ("drive=domain:1,image:2,index:3", {"drives": [{"domainID": "1", "imageID": "2", "index": "3"}]}),
        ("cdrom=/iso/a.iso", {"cdrom": "/iso/a.iso"}),
        ("cpuPinning={0:1-2}rest", {"cpuPinning": {"0": "1-2"}}),
        ("cpuPinning={}", {}),
        ("guestNumaNodes={cpus:0-3,memory:1}", {"guestNumaNodes": [{"cpus": "0-3", "memory": "1"}]}),
        ("custom_a=b\ncustom_=c", {"custom": {"a": "b", "": "c"}}),
        ("vt=true", {"vt": "true", "kvmEnable": "true"}),
        ("imageFile=/a", {"imageFile": "/a", "hda": "/a"}),
        ("moreImages=a,b", {"moreImages": "a,b", "hdb": "a", "hdc": "b"}),
        ("xmlBase64=PGRvbWFpbi8+\nlaunchPaused=false", {"xml": "<domain/>", "launchPaused": "false"}),
        ("a=b\r\nc=d\re=f\x85g", {"a": "b", "c": "d", "e": "fg"}),
    ],
)
def test_a_line_means_what_the_format_says(text: str, params: dict[str, Any]) -> None:
    assert reader.parse(text) == params


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("devices=", "it has no value"),
        ("devices", "it has no value"),
        ("devices={a:b", "a closing brace is missing"),
        ("devices={a:b}c", "there is text after the closing brace: 'c'"),
        ("devices={a}", "'a}' is not NAME:VALUE"),
        ("devices={a:[b,c]}", "'c]}' is not NAME:VALUE"),
        ("drive=a:b,c", "'c' is not NAME:VALUE"),
        ("cpuPinning=0", "'0' does not begin with a brace"),
        ("moreImages=a,b,c,d", "it holds 4 images, where 3 can be"),
        ("xmlBase64=!!!", "it does not hold the base64 of a text"),
        ("xmlBase64=é", "it does not hold the base64 of a text"),
        ("xmlBase64=/w==", "it does not hold the base64 of a text"),
        ("xml=<domain/>", "it cannot be given like this, white space in it would be lost: write xmlBase64="),
        ("custom=a", "it cannot be given like this: write custom_NAME=VALUE"),
        ("devices=" + "{a:" * 1000 + "}" * 1000, "it nests braces more than 16 deep"),
    ],
)
def test_an_error_names_line_and_key(line: str, reason: str) -> None:
    with pytest.raises(reader.BadVmConf) as caught:
        reader.parse(f"vmId=a\n\n{line}\n")
    key = line.partition("=")[0]
    assert str(caught.value) == f"line 3, key '{key}': {reason}; mend that, or give another vm.conf"


def test_what_is_no_text_or_too_much_of_it_is_refused() -> None:
    with pytest.raises(reader.BadVmConf, match="line 2: byte 4 is not UTF-8"):
        reader.read(b"a=b\n\xff")
    with pytest.raises(reader.BadVmConf, match="larger than 8 MiB"):
        reader.read(bytes(reader.MAX_BYTES + 1))


@given(
    st.binary(max_size=200) | st.text(alphabet="devices=cpuPinning{}:,#\n\rab", max_size=80).map(str.encode)
)
def test_no_bytes_end_in_anything_but_parameters_or_that_error(data: bytes) -> None:
    with contextlib.suppress(reader.BadVmConf):
        assert isinstance(reader.read(data), dict)


def test_a_hostile_size_takes_no_long_time() -> None:
    many = "{" + "a:{}," * 1_000_000 + "a:b}"
    assert len(reader.parse("devices=" + many)["devices"]) == 1
    assert reader.parse("cpuPinning=" + many + "," * 1_000_000)["cpuPinning"]["a"] == "b"
    with pytest.raises(reader.BadVmConf):
        reader.parse("devices=" + "{a:" * 2_000_000)


def test_the_xml_is_carried_to_the_last_byte() -> None:
    xml = "<domain>\r\n\t# ü {a:b} \u2028</domain>\n"
    text = writer.write({"xml": xml}).text
    assert text == f"xmlBase64={base64.b64encode(xml.encode()).decode()}\n"
    assert reader.parse(text) == {"xml": xml}
