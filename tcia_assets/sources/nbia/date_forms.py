"""In which of the known forms the dates and times of a reply are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, DATE_FORMATS
from tcia_assets.spec import Dialect, Endpoint

_DATES = frozenset(("day", "instant"))
# Java writes up to nine digits of a second, `strptime` reads six.
_BEYOND_MICROSECONDS = re.compile(r"(?<=[.][0-9]{6})[0-9]{1,3}$")


def date_forms(rows: Sequence[Mapping[str, object]]) -> dict[str, tuple[str, ...]]:
    """Return the forms of the dates in rows with wire names, by our names of their columns.

    The form of a value in no known form is "".
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, value in row.items():
            column = COLUMNS_BY_WIRE_NAME.get(name)
            if column is None or column.kind.name not in _DATES:
                continue
            if isinstance(value, str) and value.strip():
                found.setdefault(column.name, {})[form_of(value)] = None
    return {name: tuple(forms) for name, forms in found.items()}


def declared_forms(dialect: Dialect, endpoint: Endpoint) -> dict[str, str]:
    """Return the form that a dialect declares, by our names of an endpoint's columns."""
    forms = {}
    for name in (*endpoint.columns, *endpoint.optional_columns):
        column = COLUMNS_BY_WIRE_NAME[name]
        if column.kind.name in _DATES:
            declared = endpoint.value_format(name, dialect.value_format)
            forms[column.name] = declared.day if column.kind.name == "day" else declared.instant
    return forms


def form_of(text: str) -> str:
    """Return the known form of a date or time; "" if it is in none.

    >>> [form_of(text) for text in ("2011-07-22", "07-22-2011", "22/07/2011")]
    ['%Y-%m-%d', '%m-%d-%Y', '']
    """
    text = _BEYOND_MICROSECONDS.sub("", text.strip())
    return next((form for form in DATE_FORMATS if _is_in(form, text)), "")


def _is_in(form: str, text: str) -> bool:
    try:
        # Written again, because `strptime` also accepts "2011-7-2".
        parsed = datetime.strptime(text, form)  # noqa: DTZ007 - only its form matters
        return form.endswith("%f") or parsed.strftime(form) == text
    except ValueError:
        return False
