"""What is read of a response, and what its excerpt is."""

from __future__ import annotations

import gzip

import pytest

from tcia_assets.errors import (
    ArchiveBroken,
    RequestRefused,
    UnreadableReply,
)
from tcia_assets_tests.sources.conftest import Serve, talking
from tcia_assets_tests.sources.scripted import answer

GOOD = answer('[{"Collection":"A"}]')


def test_a_long_error_page_is_read_in_part_only(serve: Serve) -> None:
    server = serve(answer(b"x" * 50_000_000, 400))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.excerpt == "x" * 200


def test_an_error_page_that_is_cut_is_still_that_error(serve: Serve) -> None:
    server = serve(answer("no", 503, promised=1000, then="close"))
    with talking(server.url) as client, pytest.raises(ArchiveBroken) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.status == 503


def test_an_error_page_in_latin1_or_compressed_is_readable(serve: Serve) -> None:
    packed = gzip.compress("Wartung für alle".encode("latin-1"))
    server = serve(answer(packed, 400, Content_Encoding="gzip"))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert caught.value.excerpt == "Wartung für alle"


def test_a_body_that_is_not_encoded_as_announced_is_unreadable_and_no_overload(
    serve: Serve,
) -> None:
    server = serve(answer('[{"Collection":"A"}]', Content_Encoding="gzip"))
    with (
        talking(server.url, max_connections=4) as client,
        pytest.raises(UnreadableReply, match="Content-Encoding announces"),
    ):
        client.get_rows("getCollectionValues")
    assert (len(server.asked), client.connections) == (3, 4)


def test_an_error_page_that_is_not_encoded_as_announced_is_still_that_error(serve: Serve) -> None:
    server = serve(answer("no", 400, Content_Encoding="gzip"))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert (caught.value.status, caught.value.excerpt) == (400, "")
