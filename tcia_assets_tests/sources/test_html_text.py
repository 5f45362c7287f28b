"""Plain text from the HTML of curators, and from what no curator writes."""

from __future__ import annotations

import time

import pytest

from tcia_assets.sources.html_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain text, a < b & c", "plain text, a < b & c"),
        ("<p>one</p>\n<p>two\nlines&nbsp;here</p>", "one\ntwo lines here"),
        ("a<br/>b<br>c", "a\nb\nc"),
        ("<ul><li>one</li><li> two</li><li></li></ul>", "- one\n- two"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("<a href='https://doi.org/10.1/x'>the data</a>.", "the data (https://doi.org/10.1/x)."),
        ("<a href='https://x.org/a'>https://x.org/a</a>", "https://x.org/a"),
        ("<a href='/relative'>words</a> <a name=top>more</a>", "words more"),
        ("x<script>alert('no')</script><style>p {}</style><!-- no -->y", "xy"),
        ("caf&eacute; &#128512; &unknown; <unknown>in</unknown>", "café 😀 &unknown; in"),
        ("<!DOCTYPE html><![if !lists]>a<![endif]><?xml version='1.0'?>b <!-- <p> -->c", "ab c"),
        (
            "a<!-- <b>one -> --> b<!-- --><!-- two\n--> c<!-->-- d --> e<!-- to the end <p>f",
            "a b c e",
        ),
        ("<p>never <b>closed <a href='https://x.org'>link", "never closed link"),
    ],
)
def test_markup_becomes_lines_of_text(html: str, text: str) -> None:
    assert plain_text(html, 1000) == text


def test_a_long_text_is_cut() -> None:
    assert plain_text("<p>" + "a b " * 100, 7) == "a b a b"


HOSTILE = [
    "<",
    "<a",
    "</a",
    "<!--",
    "<!---->" * 3,
    "<a href='https://x.org'>",
    "&",
    "<![",
    "<p>",
    "<a b='>",
]
HOSTILE += ["<?", "<!", "&#", "<script>", "<a/>", "</", '<a href=">', "<a =", "<li>", "<style>"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_markup_takes_no_time(piece: str) -> None:
    began = time.process_time()
    # What took time by the square of the length would take seconds.
    plain_text(piece * (1 << 15), 1000)
    assert time.process_time() - began < 0.5
