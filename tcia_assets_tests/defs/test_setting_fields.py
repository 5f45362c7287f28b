"""Settings as fields: described as they are declared, and without secrets."""

from __future__ import annotations

from tcia_assets.defs.setting_fields import SettingFields
from tcia_assets.settings import Settings


def test_no_field_is_a_secret() -> None:
    secrets = {name for name, field in Settings.model_fields.items() if not field.repr}

    assert secrets
    assert not secrets & SettingFields.model_fields.keys()


def test_each_field_says_what_it_is_and_what_it_is_by_default() -> None:
    for name, field in SettingFields.model_fields.items():
        about = str(field.description)
        assert about
        if name in Settings.model_fields:
            assert field.default is None
            assert about.startswith(str(Settings.model_fields[name].description))
            assert "; default: " in about
