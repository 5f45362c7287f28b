"""`tcia-assets dataset new`: write the declaration of a dataset."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcia_assets.catalog import SERIES
from tcia_assets.cli.completion import complete_collections
from tcia_assets.cli.terminal import err, out, print_note, printable
from tcia_assets.errors import UsageError, require_known
from tcia_assets.settings import Settings
from tcia_assets.store.data_folder import open_warehouse

if TYPE_CHECKING:
    from tcia_assets.datasets.new_declaration import Choices
    from tcia_assets.store.warehouse import Warehouse

_NONE = "none"
_MOST_SHOWN = 20


def _parse_channels(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return the condition of each channel."""
    channels = {}
    for value in values:
        name, separator, condition = value.partition("=")
        if not (separator and name.strip() and condition.strip()):
            raise click.BadParameter(f"{value!r} is not like \"ct=Modality = 'CT'\"")
        channels[name.strip()] = condition.strip()
    return channels


@click.command("new")
@click.argument("name")
@click.option(
    "--collection",
    "collections",
    multiple=True,
    shell_complete=complete_collections,
    help="A Collection; may be repeated.",
)
@click.option("--modality", "modalities", multiple=True, help="A Modality of its images.")
@click.option("--kind", type=click.Choice(["SEG", "RTSTRUCT", _NONE]), help="Masks to learn from.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NAME=CONDITION",
    callback=_parse_channels,
    help="An image of each case, by SQL over current_series; may be repeated.",
)
@click.option("--format", "formats", multiple=True, help="A format, such as nnunet.")
@click.option("--title", help="The title.  [default: from the Collections]")
@click.option(
    "--datasets-dir",
    type=click.Path(path_type=Path),
    help="Folder of dataset declarations.  [default: TCIA_DATASETS_DIR]",
)
def new(
    name: str,
    collections: tuple[str, ...],
    modalities: tuple[str, ...],
    kind: str | None,
    channels: dict[str, str],
    formats: tuple[str, ...],
    title: str | None,
    datasets_dir: Path | None,
) -> None:
    """Write the declaration NAME.yaml of a new dataset, with comments, to be edited.

    What options leave open is asked on a terminal; elsewhere the most frequent Modality of
    images and of masks is taken. Labels are proposed from the names of segments and ROIs of masks
    on disk. A file that exists is not changed.

    \b
    Examples:
      tcia-assets dataset new lung --collection LCTSC
      tcia-assets dataset new lung --collection LCTSC --modality CT --kind RTSTRUCT --format nnunet
      tcia-assets dataset new pet_ct --collection Soft-tissue-Sarcoma --modality CT --modality PT
        --channel "ct=Modality = 'CT'" --channel "pet=Modality = 'PT'"
      tcia-assets dataset plan lung
    """
    from tcia_assets.datasets.declaration import parse_declaration  # noqa: PLC0415 - an extra
    from tcia_assets.datasets.new_declaration import (  # noqa: PLC0415
        Choices,
        count_names,
        declaration_text,
        propose_labels,
    )

    settings = Settings.from_env()
    warehouse = open_warehouse(settings)
    folder = datasets_dir or Path(settings.datasets_dir)
    path = folder / f"{name}.yaml"
    if path.exists():
        raise UsageError(f"{path} exists: edit it, or choose another name")
    known = warehouse.keys(SERIES)
    chosen = collections or _ask_collections(known)
    require_known("refreshed Collection", chosen, known)
    images, masks = _ask_modalities(warehouse, chosen, modalities, kind)
    names: Counter[str] = count_names(warehouse, chosen, masks, images) if masks else Counter()
    choices = Choices(
        title or f"{' and '.join(images)} of {', '.join(chosen)}",
        chosen,
        images,
        masks,
        propose_labels(names),
        formats or ("nifti",),
        channels,
    )
    text = declaration_text(choices, names)
    parse_declaration(text, name)
    _write(path, text)
    _print(path, choices, names)


def _ask_collections(known: list[str]) -> tuple[str, ...]:
    """Ask for Collections, separated by commas."""
    if not known:
        raise UsageError("the warehouse is empty: run `tcia-assets refresh` first")
    if not sys.stdin.isatty():
        raise UsageError("name a Collection: --collection NAME")
    more = f" and {len(known) - _MOST_SHOWN} more" if len(known) > _MOST_SHOWN else ""
    err.print(f"Collections: {printable(', '.join(known[:_MOST_SHOWN]) + more)}", soft_wrap=True)
    answer: str = click.prompt("Which, separated by commas", default=known[0], err=True)
    return tuple(name.strip() for name in answer.split(",") if name.strip())


def _ask_modalities(
    warehouse: Warehouse, chosen: tuple[str, ...], modalities: tuple[str, ...], kind: str | None
) -> tuple[tuple[str, ...], str]:
    """Return the Modalities of the images, and the one of the masks; "" for none."""
    from tcia_assets.datasets.new_declaration import count_modalities  # noqa: PLC0415 - an extra

    images, masks = count_modalities(warehouse, chosen)
    if not images:
        raise UsageError(f"{', '.join(chosen)} has no Series of images")
    if not modalities:
        answer = _ask("Images", images)
        modalities = tuple(name.strip() for name in answer.split(",") if name.strip())
    require_known("Modality of images", modalities, images)
    if kind is None:
        kind = _ask("Masks (or none)", masks) if masks else _NONE
    return modalities, "" if kind == _NONE else kind


def _ask(what: str, counts: Counter[str]) -> str:
    """Ask for one of some Modalities; the most frequent is the default, and taken elsewhere."""
    [(first, _)] = counts.most_common(1)
    if not sys.stdin.isatty():
        return first
    shown = ", ".join(f"{name} ({count:,} Series)" for name, count in counts.most_common())
    answer: str = click.prompt(f"{what}: {shown}", default=first, err=True)
    return answer.strip()


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _print(path: Path, choices: Choices, names: Counter[str]) -> None:
    out.print(printable(str(path)), soft_wrap=True)
    if choices.kind and not names:
        print_note(
            f"no {choices.kind} is on disk, so its labels are an example: fetch them, and see "
            f"`tcia-assets dataset plan {path.stem}`"
        )
    else:
        err.print(f"next: edit it, then `tcia-assets dataset plan {path.stem}`", soft_wrap=True)
