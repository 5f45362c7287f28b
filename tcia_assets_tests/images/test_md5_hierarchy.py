"""The hash of a node of the MD5 hierarchy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.images.md5_hierarchy import combined_md5
from tcia_assets_tests.images.place import md5


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=8))
def test_the_hash_of_a_node_is_independent_of_order_and_case(parts: list[bytes]) -> None:
    hashes = [md5(part) for part in parts]

    assert (
        combined_md5(hashes)
        == combined_md5(reversed(hashes))
        == combined_md5(h.upper() for h in hashes)
    )
    assert combined_md5(hashes) == md5("".join(sorted(hashes)).encode())
