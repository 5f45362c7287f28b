"""The version, as the installed package declares it; it is made from the tag (pyproject.toml)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tcia_assets")
except PackageNotFoundError:  # a checkout that is only on the path
    __version__ = "0+unknown"
