"""A name in the column `source` says which family a source is of, and which release."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.sources.names import families_of, family_of, releases_of, systems_of

NAMES = pa.chunked_array(
    [["nbia-v4@a.org", "bindaas-v3@127.0.0.1:80", "idc-v24@s3.amazonaws.com", None]], pa.string()
)


def test_a_family_has_no_version_and_no_host() -> None:
    assert families_of(NAMES).to_pylist() == ["nbia", "bindaas", "idc", None]
    assert [family_of(name) for name in NAMES.to_pylist() if name] == ["nbia", "bindaas", "idc"]


def test_a_release_is_no_other_system_but_a_version_of_an_api_is() -> None:
    assert systems_of(NAMES).to_pylist() == ["nbia-v4", "bindaas-v3", "idc", None]


def test_only_a_source_with_releases_has_one() -> None:
    assert releases_of(NAMES).to_pylist() == [None, None, 24, None]
