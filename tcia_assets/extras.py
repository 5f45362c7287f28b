"""The optional dependencies, as the installed package declares them, and how to install them.

A command names the packages themselves, not `tcia_assets[extra]`: it works from a clone, from a
wheel and from a package index alike.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "tcia_assets"


@cache
def requirements() -> dict[str, tuple[Requirement, ...]]:
    """Return what each extra needs, and "" for what is always needed; empty if not installed.

    An extra that includes another one has what that one needs.
    """
    try:
        about = metadata.metadata(PACKAGE)
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return {}
    declared = [Requirement(line) for line in lines]
    names = about.get_all("Provides-Extra") or []
    always = tuple(each for each in declared if _applies(each, ""))
    return {"": always} | {name: tuple(_needed(name, declared)) for name in names}


def install_command(extra: str) -> str:
    """Return the command that installs what an extra needs.

    >>> install_command("fast")
    "pip install 'isal>=1.6'"
    """
    needed = requirements().get(extra)
    if not needed:
        return f"pip install '{PACKAGE}[{extra}]'"
    return "pip install " + " ".join(f"'{_plain(each)}'" for each in needed)


def _needed(extra: str, declared: list[Requirement]) -> list[Requirement]:
    found = []
    for each in declared:
        if not _applies(each, extra) or _applies(each, ""):
            continue
        if canonicalize_name(each.name) == canonicalize_name(PACKAGE):
            found += [other for name in sorted(each.extras) for other in _needed(name, declared)]
        else:
            found.append(each)
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _plain(requirement: Requirement) -> str:
    """Return a requirement without the condition that it is of an extra."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
