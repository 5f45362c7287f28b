"""No secret, no user of a URL and no name of a user in a path gets into a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.doctor.redaction import Redaction
from tcia_assets.settings import Settings

SECRETS = {"api_key": "k/3y", "username": "jdoe", "password": "p4ss w0rd"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("got 'p4ss w0rd' and p4ss%20w0rd", "got '***' and ***"),
        ("key k/3y or k%2F3y of jdoe", "key *** or *** of ***"),
        ("http://jane:x@proxy:3128/a and https://jane@h/b", "http://proxy:3128/a and https://h/b"),
        ("HOMES/jane/data is full", "~/data is full"),
        ("HOMES/jane: closed; 'HOMES/jane'", "~: closed; '~'"),
        ("HOMES/janet/data and HOMES/joe", "HOMES/USER/data and HOMES/USER"),
        ("/scratch/jane/tcia, /jane, /data/jane.d", "/scratch/USER/tcia, /USER, /data/jane.d"),
        ("Collection jane of http://h/nbia-api", "Collection jane of http://h/nbia-api"),
    ],
)
@pytest.mark.parametrize("homes", [f"/{name}" for name in ("home", "Users")])
def test_what_identifies_someone_is_left_out(text: str, shown: str, homes: str) -> None:
    redact = Redaction(Settings(**SECRETS), "jane", Path(f"{homes}/jane"))
    assert redact(text.replace("HOMES", homes)) == shown.replace("HOMES", homes)


def test_without_secrets_and_names_nothing_changes() -> None:
    text = "/var/lib/tcia: 3 tables, http://host:80/x"
    assert Redaction(Settings(), "", Path("/"))(text) == text
