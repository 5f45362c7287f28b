"""`tcia-assets dataset pack`: a version as one archive to publish."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import click

from tcia_assets.cli.completion import complete_datasets
from tcia_assets.cli.terminal import out, print_note, printable, progress_bar
from tcia_assets.settings import Settings
from tcia_assets.units import format_bytes


def _parse_day(_context: click.Context, _option: click.Parameter, value: str | None) -> date:
    """Parse a day; None is today, in UTC."""
    if value is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a day such as 2026-11-27") from None


@click.command("pack")
@click.argument("name", shell_complete=complete_datasets)
@click.argument("version", required=False, default="")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The archive to write.  [default: NAME-VERSION.zip]",
)
@click.option(
    "--creator",
    "creators",
    multiple=True,
    metavar="NAME",
    help='Who made the dataset, as "Curie, Marie"; may be repeated.',
)
@click.option(
    "--published",
    metavar="DAY",
    callback=_parse_day,
    help="The day of publication.  [default: today]",
)
def pack(
    name: str, version: str, to: Path | None, creators: tuple[str, ...], published: date
) -> None:
    """Write a version of a dataset as one zip, for Zenodo or another repository.

    The zip holds the files of the version, each checked by its SHA-256, and their description as an
    RO-Crate. Beside it, NAME-VERSION.zenodo.json has the metadata of a deposition. NAME may be a
    folder. VERSION is the latest one by default; its first digits are enough. Nothing is uploaded.

    \b
    Examples:
      tcia-assets dataset pack lung_ct --creator "Curie, Marie"
      tcia-assets dataset pack lung_ct 3f2a --to /tmp/lung_ct.zip --published 2026-11-27
    """
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra
    from tcia_assets.datasets.pack import Publication, unlicensed_series  # noqa: PLC0415
    from tcia_assets.datasets.pack import pack as write_pack  # noqa: PLC0415

    found = versions.find(Settings.from_env().root, f"{name}/{version}" if version else name)
    archive = to or Path(f"{found.name}-{found.version}.zip")
    with progress_bar(f"Pack {found.name}") as report:
        packed = write_pack(found, archive.absolute(), Publication(published, creators), report)
    out.print(
        f"{printable(str(packed.archive))}: {format_bytes(packed.bytes)}, SHA-256 {packed.sha256}",
        soft_wrap=True,
    )
    out.print(f"{printable(str(packed.metadata))}: metadata for Zenodo", soft_wrap=True)
    if count := unlicensed_series(found):
        print_note(
            f"{count:,} Series have no licence, so that access is 'restricted' for Zenodo: ask who "
            "owns the data before you publish them"
        )
    if not creators:
        print_note("no creators are named (--creator), which Zenodo needs")
