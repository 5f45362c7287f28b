"""`python -m tcia_assets.cli`, for where the command is not on the path."""

from tcia_assets.cli import main

main()
