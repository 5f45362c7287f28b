"""The command group `tcia-assets`, and how an error becomes an exit code."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import click

from tcia_assets.cli.catalogue import catalogue
from tcia_assets.cli.changes import changes
from tcia_assets.cli.clinical import clinical
from tcia_assets.cli.completion import completion
from tcia_assets.cli.dataset import dataset
from tcia_assets.cli.demo import demo
from tcia_assets.cli.doctor import doctor
from tcia_assets.cli.export import export
from tcia_assets.cli.fetch import fetch
from tcia_assets.cli.import_folder import import_folder
from tcia_assets.cli.migrate import migrate
from tcia_assets.cli.prune import prune
from tcia_assets.cli.query import query
from tcia_assets.cli.refresh import refresh
from tcia_assets.cli.sandbox import sandbox
from tcia_assets.cli.status import status
from tcia_assets.cli.tables import tables
from tcia_assets.cli.terminal import (
    FAILED,
    INTERRUPTED,
    MISUSED,
    err,
    exit_with,
    print_note,
    printable,
)
from tcia_assets.cli.verify import verify
from tcia_assets.errors import RunFailed, TciaError, UsageError
from tcia_assets.progress import notes_to
from tcia_assets.version import __version__

_KEPT = "what was complete is kept; the same command goes on from there"


def _repeat_lost_interrupt(unraisable: Any) -> None:
    """Send Ctrl-C again if its exception could not leave the code that it interrupted.

    Python drops what is raised in callbacks of weak references, which SQLAlchemy has many of.
    """
    if issubclass(unraisable.exc_type, Exception):
        sys.__unraisablehook__(unraisable)
        return
    main = threading.main_thread().ident or 0
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()


class _Group(click.Group):
    """A group that prints this package's errors on one line and exits with their code."""

    def invoke(self, context: click.Context) -> Any:
        hook, sys.unraisablehook = sys.unraisablehook, _repeat_lost_interrupt
        try:
            with notes_to(print_note):
                return super().invoke(context)
        except RunFailed as error:
            exit_with(error.failures)
        except (KeyboardInterrupt, RuntimeError) as error:
            # DuckDB raises a RuntimeError if it is interrupted while it works.
            if isinstance(error, RuntimeError) and "interrupted" not in str(error):
                raise
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            err.print(f"[bold red]Interrupted:[/] {_KEPT}", soft_wrap=True)
            # Another one ends the process at once, and without the traces of threads.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.exit(INTERRUPTED)
        except TciaError as error:
            err.print(f"[bold red]Error:[/] {printable(str(error))}", soft_wrap=True)
            sys.exit(MISUSED if isinstance(error, UsageError) else FAILED)
        finally:
            sys.unraisablehook = hook


@click.group(
    cls=_Group,
    commands=[
        demo,
        sandbox,
        refresh,
        fetch,
        import_folder,
        export,
        verify,
        clinical,
        query,
        status,
        changes,
        catalogue,
        tables,
        dataset,
        migrate,
        doctor,
        prune,
        completion,
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="tcia-assets")
def main() -> None:
    """Mirror The Cancer Imaging Archive with Dagster.

    Settings come from environment variables: TCIA_DIALECT, TCIA_BASE_URL, TCIA_DATA_DIR, ...

    \b
    Try it without TCIA:
      tcia-assets demo                             (all of it, in two minutes)
      tcia-assets sandbox                          (in another terminal; prints what to export)
      tcia-assets refresh --all
      tcia-assets query "SELECT Collection, count(*) FROM series GROUP BY ALL"
      tcia-assets fetch LCTSC
      tcia-assets status
      tcia-assets dataset build lung_ct
      tcia-assets catalogue
    """
