"""The index of Series by UID."""

from __future__ import annotations

import pyarrow as pa

from tcia_assets.sandbox.series_index import VISIBLE, SeriesFacts, SeriesIndex


def test_every_series_is_found_and_no_other() -> None:
    uids = ["1.10", "1.2", "1.3"]  # sorted as texts
    index = SeriesIndex(
        pa.table({"uid": uids, "row": [7, 8, 9], "count": [1, 2, 3], "size": [10, 20, 30]})
    )
    assert [index.find(uid) for uid in uids] == [
        SeriesFacts(7, 1, 10),
        SeriesFacts(8, 2, 20),
        SeriesFacts(9, 3, 30),
    ]
    assert SeriesFacts(7, 1, 10).state == VISIBLE
    assert [index.find(uid) for uid in ("", "1.1", "1.20", "2")] == [None] * 4
