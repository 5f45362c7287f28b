"""Templates to HTML: everything is escaped, and no page may run or load but what is ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tcia_assets.metadata.citations import POLICY as USAGE_POLICY
from tcia_assets.pages.display import FILTERS

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src blob: data:; worker-src blob:; base-uri 'none'; "
    "form-action 'none'"
)
"""The Content-Security-Policy of all pages: no inline script or style, and no network."""

_FOLDERS = ("static", "vendor")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tcia_assets.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(policy=POLICY, usage_policy=USAGE_POLICY)
    return environment


def render(template: str, *, root: str, here: str = "", **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: The name of the template.
        root: The way from the page to the folder of all pages: "", "../" or "../../".
        here: The page of the main navigation that it belongs to.
        values: What the template uses.
    """
    return _environment().get_template(template).render(root=root, here=here, **values)


def assets() -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the scripts and styles that all pages share, and their licences."""
    for folder in _FOLDERS:
        for file in sorted(_files(folder), key=lambda each: each.name):
            yield f"{folder}/{file.name}", file.read_bytes()


@cache
def look() -> str:
    """Return a hash of all templates, scripts and styles: when it changes, so do the pages."""
    digest = hashlib.sha256()
    for folder in ("templates", *_FOLDERS):
        for file in sorted(_files(folder), key=lambda each: each.name):
            digest.update(f"{file.name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(folder: str) -> list[Traversable]:
    return [file for file in (files("tcia_assets.pages") / folder).iterdir() if file.is_file()]
