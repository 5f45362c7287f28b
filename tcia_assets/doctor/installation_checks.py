"""What is installed: versions, extras, and the system."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from importlib import metadata

from tcia_assets.doctor.step_result import StepResult, differs, join_names, ok, unknown
from tcia_assets.doctor.steps import Step
from tcia_assets.version import __version__

_PACKAGE = "tcia_assets"
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+).*?(?:extra == ['\"](?P<extra>[^'\"]+)['\"])?$"
)
_TOLD = ("dagster", "duckdb", "pyarrow", "pydicom", "numpy", "requests", "urllib3")


def installation_steps() -> list[Step]:
    """Return the steps about the installation."""
    return [Step("versions", _versions), Step("extras", _extras)]


def versions() -> dict[str, str]:
    """Return the versions of this package, of what it needs, of Python and of the system."""
    found = {_PACKAGE: __version__, "python": platform.python_version()}
    found |= {name: version for name in _TOLD if (version := _version(name))}
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def _versions() -> StepResult:
    missing = [name for name in _requirements().get("", ()) if not _version(name)]
    seen = ", ".join(f"{name} {version}" for name, version in versions().items())
    if missing:
        advice = f"pip install {' '.join(missing)}"
        return differs("versions", f"not installed: {join_names(missing)}; {seen}", advice)
    return ok("versions", seen)


def _extras() -> StepResult:
    extras = {name: parts for name, parts in _requirements().items() if name}
    if not extras:
        return unknown("extras", f"{_PACKAGE} is not installed as a package")
    whole = [name for name, parts in extras.items() if all(map(_version, parts))]
    others = sorted(set(extras) - set(whole))
    seen = f"installed: {join_names(sorted(whole), 9) if whole else 'none'}"
    advice = f"pip install '{_PACKAGE}[NAME]' for what you need of them" if others else ""
    return ok(
        "extras", seen + (f"; not, or in part: {join_names(others, 9)}" if others else ""), advice
    )


def _requirements() -> dict[str, list[str]]:
    """Return the names of the packages that each extra needs, "" being without extras."""
    try:
        lines: Iterable[str] = metadata.requires(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        lines = ()
    found: dict[str, list[str]] = {}
    for line in lines:
        if matched := _REQUIREMENT.match(line):
            found.setdefault(matched["extra"] or "", []).append(matched["name"])
    return found


def _version(name: str) -> str:
    """Return the version of an installed package; "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
