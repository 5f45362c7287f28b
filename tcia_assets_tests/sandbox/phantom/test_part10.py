"""The files of objects."""

from __future__ import annotations

import pytest

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom import part10
from tcia_assets_tests.sandbox.phantom.made_objects import read, row


def test_content_that_does_not_fit_is_an_error() -> None:
    ((uid, content),) = phantom.objects(row("SR"))
    header = read(content)
    del header.DataSetTrailingPadding
    template = part10.Template(header, 1000)
    with pytest.raises(phantom.ContentTooLarge, match=uid):
        template.file(header)
