"""The encoding of texts in XML and HTML (archive-api.md 5.4)."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.sandbox.markup_encoder import DoubleEncoding, decode, encode
from tcia_assets_tests.sandbox.reply_fields import MAKER, written


def test_latin_1_letters_become_entities_that_xml_does_not_define() -> None:
    body = written("xml", (MAKER,), [("Café & Söhne/1",)])
    assert "Caf&eacute; &amp; S&ouml;hne&#x2f;1" in body
    with pytest.raises(ET.ParseError):
        ET.fromstring(body)


def test_the_encoder_decodes_percents_first() -> None:
    assert encode("30%DELAY") == "30&THORN;LAY"
    assert encode("Gated, 10.0%") == "Gated, 10.0&#x25;"


def test_a_text_that_seems_encoded_twice_ends_the_document() -> None:
    rows = [("before",), ("100%2526",), ("after",)]
    for form, end in (("xml", "<Manufacturer type='java.lang.String'>"), ("html", "<TR>")):
        body = written(form, (MAKER,), rows)
        assert "before" in body
        assert "after" not in body
        assert body.endswith(end)
    with pytest.raises(DoubleEncoding):
        decode("&#x25;41")


@given(st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])))
def test_decoding_an_encoded_text_returns_the_decoded_text(text: str) -> None:
    try:
        known = decode(text)
    except DoubleEncoding:
        return
    if not re.search(r"[\x00-\x1f\x7f-\x9f]", known):
        assert html.unescape(encode(text)) == known
