"""The command line, `tcia-assets`: one module a command or command group.

What belongs here: arguments, what is printed, exit codes. What does not: the work itself, which the
commands share with Dagster's daemon and with notebooks.

Exit codes: 0 success, 1 something failed or is incomplete, 2 the call was wrong.
"""

from tcia_assets.cli.app import main

__all__ = ["main"]
