"""The reference of the command line, from the commands as click has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from tcia_assets.cli import main

HEAD = """\
# Command line

Generated from the commands by `make format`; `tcia-assets COMMAND --help` prints the same.

Settings come from [environment variables](settings.md). Commands run the plugin's own Dagster jobs
in their process, and record them in `DAGSTER_HOME`, or in `$TCIA_DATA_DIR/dagster` if that is not
set.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | something failed or is incomplete |
| 2 | the call was wrong |
| 130 | interrupted by Ctrl-C: what was complete is kept, and the same command goes on from there |

"""


def command_list() -> str:
    """Return the commands as a Markdown table, with a link to the reference of each."""
    rows = [
        f"| [`tcia-assets {name}`](docs/reference/cli.md#{name}) | {first_sentence(command)} |"
        for name, command in main.commands.items()
    ]
    return "\n".join(["| command | |", "|---|---|", *rows]) + "\n"


def cli_reference() -> str:
    """Return the page about all commands."""
    context = click.Context(main, info_name="tcia-assets")
    return HEAD + "\n".join(line for each in sections(main, context) for line in each)


def sections(group: click.Group, parent: click.Context) -> Iterator[list[str]]:
    """Yield the lines about each command of a group, and of the groups in it."""
    for name, command in group.commands.items():
        context = click.Context(command, info_name=name, parent=parent)
        yield list(section(command, context))
        if isinstance(command, click.Group):
            yield from sections(command, context)


def section(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the lines about a command."""
    # `tcia-assets dataset build` is a section of `dataset`.
    words = context.command_path.split()
    yield f"{'#' * len(words)} `{' '.join(words[1:])}`\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield from paragraphs(command.help or "")
    options = [
        record
        for param in command.params
        if isinstance(param, click.Option) and (record := param.get_help_record(context))
    ]
    if options:
        yield "| option | meaning |\n|---|---|"
        yield from (
            f"| `{names.replace('|', chr(92) + '|')}` | {cell(text)} |" for names, text in options
        )
        yield ""


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; one whose lines click keeps is a block of code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b"):
            yield paragraph + "\n"
            continue
        head, *lines = paragraph.removeprefix("\b\n").splitlines()
        yield f"{head}\n"
        yield "\n".join(["```bash", *(line.removeprefix("  ") for line in lines), "```", ""])


def first_sentence(command: click.Command) -> str:
    """Return the first line of a command's help."""
    return cell(inspect.cleandoc(command.help or "").split("\n\n")[0])


def cell(text: str) -> str:
    """Return a text as the cell of a table; "[default: 8] [x>=0]" would be a link by reference."""
    return re.sub(r"([|\[])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")
