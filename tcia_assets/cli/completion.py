"""`tcia-assets completion`, and what completes the names in other commands.

Completion runs the command line at each press of TAB, so it reads folders and small files only. It
prints nothing and never fails: without a data folder there are no names.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
)

from tcia_assets import catalog
from tcia_assets.errors import TciaError
from tcia_assets.settings import Settings
from tcia_assets.store.warehouse import Warehouse

PROGRAM, VARIABLE = "tcia-assets", "_TCIA_ASSETS_COMPLETE"

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands, options and names in SHELL.

    Names are those of Collections, tables and datasets.

    \b
    Examples:
      source <(tcia-assets completion bash)                        (in ~/.bashrc)
      source <(tcia-assets completion zsh)                         (in ~/.zshrc, after compinit)
      tcia-assets completion fish > ~/.config/fish/completions/tcia-assets.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click cannot complete in {shell}")
    command = click.get_current_context().find_root().command
    click.echo(kind(command, {}, PROGRAM, VARIABLE).source())


# --- Names ----------------------------------------------------------------------------------------


def _completing(names: Callable[[Settings], Iterable[str]]) -> _Complete:
    """Return a completer for click, from a function that returns all names."""

    def complete(
        _context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        with contextlib.suppress(TciaError, OSError):
            found = sorted(set(names(Settings.from_env())))
            begin = incomplete.casefold()
            return [CompletionItem(name) for name in found if name.casefold().startswith(begin)]
        return []

    return complete


def _collections(settings: Settings) -> Iterator[str]:
    warehouse = Warehouse(settings.root)
    yield from warehouse.keys(catalog.SERIES)
    yield from warehouse.read_or_empty(catalog.COLLECTIONS)["Collection"].to_pylist()


def _datasets(settings: Settings) -> Iterator[str]:
    yield from (path.stem for path in Path(settings.datasets_dir).glob("*.yaml"))
    yield from (path.name for path in (settings.root / "datasets").glob("[!.]*/"))


complete_collections = _completing(_collections)
complete_shared_lists = _completing(lambda s: Warehouse(s.root).keys(catalog.SHARED_LISTS))
complete_tables = _completing(lambda _: (table.name for table in catalog.TABLES))
complete_datasets = _completing(_datasets)


# --- Bash -----------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"([^\w@%+=:,./-])")


@add_completion_class
class _Bash(BashComplete):
    """Completion for bash that keeps the blanks of a name; click's own splits the name there."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response line type value
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        %(complete_var)s=bash_complete $1)
    for line in $response; do
        IFS=',' read -r type value <<< "$line"
        if [[ $type == 'dir' ]]; then
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            COMPREPLY+=("$value")
        fi
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the line of an item, escaped unless the word on the command line is quoted."""
        words, place = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
        is_quoted = words[place : place + 1] and words[place][:1] in {"'", '"'}
        value = item.value if is_quoted else _SPECIAL.sub(r"\\\1", item.value)
        return f"{item.type},{value}"
