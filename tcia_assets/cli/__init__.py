"""The command line, `tcia-assets`: one module a command or command group.

The modules parse arguments, print results and set exit codes. The work itself is shared with
Dagster's daemon and with notebooks, and is in the other packages.

Exit codes: 0 success, 1 something failed or is incomplete, 2 the call was wrong, 130 interrupted by
Ctrl-C.
"""

from tcia_assets.cli.app import main

__all__ = ["main"]
