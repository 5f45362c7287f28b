"""`tcia-assets sandbox`."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", default=8042, show_default=True, help="Use 0 for any free port.")
@click.option("--full", is_flag=True, help="Serve the whole catalogue; needs the extra `full`.")
def sandbox(host: str, port: int, *, full: bool) -> None:
    """Serve a local server that implements TCIA's API.

    Its metadata is real; its images are synthetic, made on request. The URL of each dialect is
    printed. To change the sandbox's Series, POST to /_sandbox/hold, /release, /revise, /withdraw,
    /move or /faults.

    \b
    Examples:
      tcia-assets sandbox
      tcia-assets sandbox --port 9000 --full
    """
    from tcia_assets.sandbox.server import serve  # noqa: PLC0415 - starlette is an extra

    serve(host, port, full=full, write_line=click.echo)
