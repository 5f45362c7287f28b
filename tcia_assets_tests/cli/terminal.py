"""The command line as tests call it: in this process, since starting one is slow."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from tcia_assets import catalog
from tcia_assets.cli import main
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL

CONTOURS = ("fetch", SMALL, "--modality", "RTSTRUCT")


class CommandLine:
    """Calls commands with these environment variables; errors other than exits are raised."""

    def __init__(self, environment: dict[str, str], prefix: tuple[str, ...] = ()) -> None:
        self.environment = environment | {"COLUMNS": "200"}
        self._prefix = prefix

    def __call__(self, *arguments: str) -> Result:
        runner = CliRunner(env=self.environment)
        result = runner.invoke(main, [*self._prefix, *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


class Terminal(CommandLine):
    """The command line over the sandbox, with a data folder of its own."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        super().__init__({"TCIA_BASE_URL": sandbox.base_url("nbia-v4"), "TCIA_DATA_DIR": str(root)})
        self.sandbox, self.root, self.warehouse = sandbox, root, Warehouse(root)

    @property
    def uids(self) -> list[str]:
        """The contour Series of the small Collection."""
        rows = self.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
        return sorted(r["SeriesInstanceUID"] for r in rows if r["Modality"] == "RTSTRUCT")

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each Series in the manifest of the small Collection."""
        rows = self.warehouse.read_or_empty(catalog.IMAGE_ARCHIVES, SMALL).to_pylist()
        return {row["SeriesInstanceUID"]: row["status"] for row in rows}

    @property
    def sent_image_requests(self) -> bool:
        return bool(self.sandbox.requests["getImage"])

    def zip(self, uid: str) -> Path:
        return self.root / "archives" / SMALL / f"{uid}.zip"


def words(text: str) -> list[str]:
    return text.split()


def line_of(result: Result, begins: str) -> str:
    """The only line of standard output that begins so."""
    [line] = [line for line in result.stdout.splitlines() if line.strip().startswith(begins)]
    return line
