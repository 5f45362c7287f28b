"""`python -m tcia_assets`, and the command `tcia-assets`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is being imported leaves no traceback."""
    try:
        from tcia_assets.cli import main as run  # noqa: PLC0415 - takes a second
    except KeyboardInterrupt:
        sys.exit(130)
    run(prog_name="tcia-assets")


if __name__ == "__main__":
    main()
