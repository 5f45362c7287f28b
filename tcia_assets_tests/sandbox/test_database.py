"""Transactions and files of the database."""

from __future__ import annotations

import threading
from typing import Any

from tcia_assets.sandbox import series_rows
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.sandbox.one_collection import UIDS, list_series

from .api_client import ApiClient


def test_a_reply_is_consistent_while_series_change(api: ApiClient, sandbox: Sandbox) -> None:
    stop = threading.Event()

    def blink() -> None:
        while not stop.is_set():
            sandbox.archive.hide(UIDS)
            sandbox.archive.show(UIDS)

    changing = threading.Thread(target=blink)
    changing.start()
    try:
        for _ in range(30):
            assert list_series(api) in ([], UIDS)
    finally:
        stop.set()
        changing.join()


def test_a_catalogue_may_be_a_file(tmp_path: Any) -> None:
    with Archive(series_rows.SMALL_CATALOGUE) as archive:
        assert archive.source
        assert archive.find(UIDS[0])
