"""Optional dependencies, and a command that installs them wherever this package came from."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tcia_assets import extras


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as a wheel of it declares itself."""
    lines = [
        "dagster<2,>=1.13",
        "pydicom<4,>=3; extra == 'dicom'",
        "numpy>=2; extra == 'dicom'",
        "tcia-assets[dicom]; extra == 'datasets'",
        "nibabel>=5.3; extra == 'datasets'",
    ]

    class About:
        def get_all(self, _: str) -> list[str]:
            return ["datasets", "dicom"]

    monkeypatch.setattr(extras.metadata, "requires", lambda _: lines)
    monkeypatch.setattr(extras.metadata, "metadata", lambda _: About())
    extras.requirements.cache_clear()
    yield
    extras.requirements.cache_clear()


def test_a_command_names_packages_that_any_index_has() -> None:
    command = extras.install_command("datasets")

    assert command == "pip install 'pydicom<4,>=3' 'numpy>=2' 'nibabel>=5.3'"
    for word in re.findall("'(.+?)'", command):
        assert Requirement(word).marker is None


def test_what_is_always_needed_belongs_to_no_extra() -> None:
    found = extras.requirements()

    assert [each.name for each in found[""]] == ["dagster"]
    assert [each.name for each in found["dicom"]] == ["pydicom", "numpy"]


def test_without_an_installed_package_the_extra_itself_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.metadata, "metadata", missing)
    extras.requirements.cache_clear()

    assert extras.requirements() == {}
    assert extras.install_command("datasets") == "pip install 'tcia_assets[datasets]'"
