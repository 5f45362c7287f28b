"""The hash of a Series on disk, made by SQL, is the one that the source has."""

from __future__ import annotations

from tcia_assets.images.md5_hierarchy import content_md5_sql
from tcia_assets_tests.images.place import Place


def test_the_hash_of_a_series_in_sql_is_that_of_the_source(fetched: Place) -> None:
    first = fetched.uids[0]
    condition = f"SeriesInstanceUID = '{first}'"
    (row,) = fetched.warehouse.query(content_md5_sql(condition)).to_pylist()

    with fetched.source() as source:
        assert row == {
            "SeriesInstanceUID": first,
            "content_md5": source.md5_hash(SeriesInstanceUID=first),
        }
