"""`tcia-assets sandbox`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", default=8042, show_default=True, help="Use 0 for any free port.")
@click.option("--full", is_flag=True, help="Serve the whole catalogue; needs the extra `idc`.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that keeps changes of the Series over restarts.",
)
def sandbox(host: str, port: int, *, full: bool, state: Path | None) -> None:
    """Serve a local server that implements TCIA's API.

    Its metadata is real; its images are synthetic, made on request. The URL of each dialect is
    printed. To change the sandbox's Series, POST to /_sandbox/hold, /release, /revise, /withdraw,
    /move or /faults.

    \b
    Examples:
      tcia-assets sandbox
      tcia-assets sandbox --port 9000 --full
      tcia-assets sandbox --state archive.parquet
    """
    from tcia_assets.sandbox.server import serve  # noqa: PLC0415 - starlette is an extra

    serve(host, port, full=full, state=state, write_line=click.echo)
