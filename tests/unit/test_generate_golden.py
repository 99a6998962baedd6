"""The domain of every sample, word by word: a change of the mapping is seen as the change of these files.

To write them anew: REFRESH_GOLDEN=1 python -m pytest tests/unit/test_generate_golden.py, then read the diff.
"""

import os

import pytest

from tests import generated, golden_ovf

HERE = golden_ovf.HERE / "generated"


@pytest.mark.parametrize("name", generated.sample_names())
def test_sample_becomes_the_domain_that_is_kept(name: str) -> None:
    made = generated.domain(golden_ovf.data(name))
    said = "".join(f"<!-- {warning} -->\n" for warning in made.warnings)
    kept = HERE / name.replace(".ovf", ".xml")
    if os.environ.get("REFRESH_GOLDEN"):
        HERE.mkdir(exist_ok=True)
        kept.write_text(said + made.xml, encoding="utf-8")
    assert said + made.xml == kept.read_text(encoding="utf-8")
