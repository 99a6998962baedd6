"""Values are frozen, compared by class and fields, and take their fields by name."""

from typing import Any

import pytest

from ovirt_he_agent.ovf.value import Value


class Size(Value):
    width_mib: int
    name: str | None


class OtherSize(Size):
    pass


class Deep(Size):
    depth_mib: int


def test_equal_values_have_the_same_class_and_fields() -> None:
    assert Size(width_mib=1, name=None) == Size(width_mib=1, name=None)
    assert Size(width_mib=1, name=None) != Size(width_mib=2, name=None)
    assert Size(width_mib=1, name=None) != OtherSize(width_mib=1, name=None)
    assert len({Size(width_mib=1, name=None), Size(name=None, width_mib=1)}) == 1


@pytest.mark.parametrize("fields", [{}, {"width_mib": 1}, {"width_mib": 1, "name": None, "more": 2}])
def test_every_field_is_given_and_no_other(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Size: missing or unknown"):
        Size(**fields)


def test_a_subclass_has_the_fields_of_its_base() -> None:
    assert Deep(width_mib=1, name="x", depth_mib=2).name == "x"
    with pytest.raises(TypeError):
        Deep(depth_mib=2)  # type: ignore[call-arg]  # that it is noticed at run time is the point


def test_a_changed_copy_leaves_the_value_as_it_is() -> None:
    size = Size(width_mib=1, name="x")
    assert size.but(width_mib=2) == Size(width_mib=2, name="x")
    assert size.width_mib == 1


def test_fields_cannot_be_set_or_deleted() -> None:
    size = Size(width_mib=1, name="x")
    with pytest.raises(AttributeError, match="width_mib cannot be set"):
        size.width_mib = 2  # type: ignore[misc]  # the same
    with pytest.raises(AttributeError, match="name cannot be deleted"):
        del size.name


def test_shown_with_its_fields() -> None:
    assert repr(Size(width_mib=1, name="x")) == "Size(width_mib=1, name='x')"
