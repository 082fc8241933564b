"""Keys by template: ``"product:{pk}"``, readable, and still one key for one set of arguments.

What is filled in is quoted: a value that holds what the template parts its fields by, as "1:2"
would in ``"{a}:{b}"``, becomes ``1%3A2``, so nobody can choose an argument such that the key is
another call's. Values are written as text, so 1 and "1" are one key: that is what a template asks
for.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from string import Formatter
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTUAL: Final = frozenset({str, int, bool, NoneType, UUID, Decimal, date, datetime})
_ROOT: Final = re.compile(r"[^.\[]*")
_MARKS: Final = re.compile(r"\W")
_formatter: Final = Formatter()


class Template:
    """Fill arguments into a key.

    Args:
        text: With fields as `str.format` has them, attributes included: ``"{user.pk}"``. Braces
            of a hash tag are doubled: ``"cart:{{{user}}}"``.
        names: Of the function's parameters.

    Raises:
        ConfigurationError: There is no field, one that is no parameter's, or two with no
            character between them that is neither letter, digit nor underscore.
    """

    __slots__ = ("_parts", "_quoted", "_text")

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self._text = text
        try:
            self._parts = list(_formatter.parse(text))
        except ValueError as error:
            raise misuse(f"key={text!r} is no template: {error}") from None
        fields = [part for part in self._parts if part[1] is not None]
        roots = {_ROOT.match(str(field))[0] for _, field, _, _ in fields}  # type: ignore[index]
        if not fields or not roots <= names or any("{" in str(spec) for _, _, spec, _ in fields):
            raise misuse(f"key={text!r} has no field, or one that is no parameter of the function")
        if not all(_MARKS.search(literal) for literal, _, _, _ in fields[1:]):
            raise misuse(
                f'key={text!r} has to part its fields by a ":" or the like, or two calls could'
                " share a key"
            )
        marks = "".join(
            mark for literal, _, _, _ in self._parts for mark in _MARKS.findall(literal)
        )
        self._quoted = re.compile(f"[{re.escape(marks)}%{{}}]")

    def fill(self, arguments: Mapping[str, Any]) -> str:
        """Return the key.

        Args:
            arguments: By name, defaults filled in.

        Raises:
            TypeError: A value is of no type whose text is the same in every process.
        """
        return "".join(
            literal if field is None else literal + self._value(field, spec, conversion, arguments)
            for literal, field, spec, conversion in self._parts
        )

    def _value(
        self, field: str, spec: str | None, conversion: str | None, arguments: Mapping[str, Any]
    ) -> str:
        value, _ = _formatter.get_field(field, (), arguments)
        if isinstance(value, Enum):
            value = value.value if isinstance(value, Flag) else value.name
        if type(value) not in _TEXTUAL:
            kind = type(value)
            raise TypeError(
                f"key={self._text!r}: {{{field}}} is a {kind.__module__}.{kind.__qualname__},"
                " whose text may differ between processes; name a str, an int, a UUID or a date"
                " of it"
            )
        text = format(_formatter.convert_field(value, conversion), spec or "")
        return self._quoted.sub(_quote, text)


def _quote(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
