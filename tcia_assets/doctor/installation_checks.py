"""What is installed: versions, extras, and the system."""

from __future__ import annotations

import platform
from importlib import metadata

from tcia_assets.doctor.step_result import StepResult, differs, join_names, ok, unknown
from tcia_assets.doctor.steps import Step
from tcia_assets.extras import PACKAGE, install_command, requirements
from tcia_assets.version import __version__

_TOLD = ("dagster", "duckdb", "pyarrow", "pydicom", "numpy", "requests", "urllib3")


def installation_steps() -> list[Step]:
    """Return the steps about the installation."""
    return [Step("versions", _versions), Step("extras", _extras)]


def versions() -> dict[str, str]:
    """Return the versions of this package, of what it needs, of Python and of the system."""
    found = {PACKAGE: __version__, "python": platform.python_version()}
    found |= {name: version for name in _TOLD if (version := _version(name))}
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def _versions() -> StepResult:
    missing = [each.name for each in requirements().get("", ()) if not _version(each.name)]
    seen = ", ".join(f"{name} {version}" for name, version in versions().items())
    if missing:
        advice = f"pip install {' '.join(missing)}"
        return differs("versions", f"not installed: {join_names(missing)}; {seen}", advice)
    return ok("versions", seen)


def _extras() -> StepResult:
    extras = {name: parts for name, parts in requirements().items() if name}
    if not extras:
        return unknown("extras", f"{PACKAGE} is not installed as a package")
    whole = [n for n, parts in extras.items() if all(_version(each.name) for each in parts)]
    others = sorted(set(extras) - set(whole))
    seen = f"installed: {join_names(sorted(whole), 9) if whole else 'none'}"
    advice = "; ".join(f"for {name}: {install_command(name)}" for name in others)
    return ok(
        "extras", seen + (f"; not, or in part: {join_names(others, 9)}" if others else ""), advice
    )


def _version(name: str) -> str:
    """Return the version of an installed package; "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
