"""Frozen values with named fields, without the cost of a generated class.

A conversion is run by short commands too, where creating a dozen dataclasses
would take longer than converting; type checkers treat a ``Value`` as one.
"""

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Value:
    """A subclass lists its fields as annotations; all are given by name. Equal: same class, same fields."""

    _fields: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        own = (
            name
            for name, kind in cls.__annotations__.items()
            if getattr(kind, "__origin__", None) is not ClassVar
        )
        cls._fields = cls._fields.union(own)

    def __init__(self, **values: Any) -> None:
        if values.keys() != self._fields:
            wrong = ", ".join(sorted(values.keys() ^ self._fields))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {wrong}")
        self.__dict__.update(values)

    def but(self, **changes: Any) -> Self:
        """The same value with other values for some fields."""
        return type(self)(**{**self.__dict__, **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self.__dict__.items())))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"
