"""`python -m tcia_assets`: the command `tcia-assets` where that is not on the path."""

from tcia_assets.cli import main

if __name__ == "__main__":
    main()
