from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import reply_formats
from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.sources import SourceRows
from tcia_assets.sources.nbia import wire
from tcia_assets.spec import Dialect, Endpoint

Read = Callable[..., SourceRows]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a body as the reply of an endpoint of a dialect; by default, getSeries of nbia-v4."""

    def read(
        body: str | bytes, name: str = "getSeries", speaks: str = "nbia-v4", form: str = "json"
    ) -> SourceRows:
        path = tmp_path / "body"
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        spoken = dialect(speaks)
        return wire.read(
            path, spoken.endpoint(name), spoken.value_format, form=form, url="http://host/x"
        )

    return read


def rendered(
    form: str, spoken: Dialect, endpoint: Endpoint, rows: Sequence[Sequence[Any]]
) -> bytes:
    return b"".join(
        reply_formats.write(form, reply_formats.fields(ServedEndpoint(spoken, endpoint)), rows)
    )
