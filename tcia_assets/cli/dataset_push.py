"""`tcia-assets dataset push`: a version on the Hugging Face Hub."""

from __future__ import annotations

import click

from tcia_assets.cli.completion import complete_datasets
from tcia_assets.cli.terminal import err, out, print_note, printable, progress_bar
from tcia_assets.settings import Settings
from tcia_assets.units import counted, format_bytes


@click.command("push")
@click.argument("name", shell_complete=complete_datasets)
@click.argument("address", metavar="hf://datasets/OWNER/REPO")
@click.option("--public", is_flag=True, help="Make a new repository public.  [default: private]")
@click.option(
    "--allow-unlicensed",
    is_flag=True,
    help="Also push Series for which the source states no licence.",
)
def push(name: str, address: str, *, public: bool, allow_unlicensed: bool) -> None:
    """Upload a version of a dataset to the Hugging Face Hub, in one commit.

    NAME is its latest version, NAME/VERSION another one (its first digits are enough); it may be a
    folder. A repository that does not exist is made, private unless --public. Each file is checked
    by its SHA-256 first. The same version again changes nothing; an interrupted push goes on where
    it was. The token is that of HF_TOKEN or of `hf auth login`; HF_ENDPOINT is another Hub.

    \b
    Examples:
      tcia-assets dataset push lung_ct hf://datasets/me/lung_ct
      tcia-assets dataset push lung_ct/3f2a hf://datasets/me/lung_ct --public
    """
    from tcia_assets.datasets import versions  # noqa: PLC0415 - numpy is an extra
    from tcia_assets.datasets.push import PushOptions  # noqa: PLC0415 - needs an extra
    from tcia_assets.datasets.push import push as push_version  # noqa: PLC0415

    _quieten()
    found = versions.find(Settings.from_env().root, name)
    options = PushOptions(is_public=public, allow_unlicensed=allow_unlicensed)
    with progress_bar(f"Check {found.name}") as report:
        pushed = push_version(found, address, options, report)
    state = "pushed" if pushed.is_changed else "is there already, unchanged"
    who = "private" if pushed.is_private else "public"
    out.print(
        printable(
            f"{found.name} {found.version} {state}: {counted(pushed.files, 'file')} of "
            f"{format_bytes(pushed.bytes)}, commit {pushed.commit[:12]}, {who}"
        ),
        soft_wrap=True,
    )
    out.print(printable(pushed.url), soft_wrap=True)
    for note in pushed.notes:
        print_note(note)


def _quieten() -> None:
    """Let huggingface_hub log errors only, and show its bars only to people."""
    from huggingface_hub.utils import disable_progress_bars, logging  # noqa: PLC0415 - an extra

    logging.set_verbosity_error()
    if not err.is_terminal:
        disable_progress_bars()
