"""The source as a tick of a sensor or schedule uses it: quick to give up."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_assets.errors import ArchiveUnreachable, Stopped
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, Source, open_source

# Dagster kills a tick after 60 s. A tick sends two requests, and the next one comes soon.
_PACING = Pacing(attempts=1, attempts_when_in_doubt=1, connect_timeout_s=5.0, read_timeout_s=15.0)
_MAX_REQUESTS_S = 45.0


@contextmanager
def open_for_tick(settings: Settings) -> Iterator[Source]:
    """Open the source; stop it if it sends slowly, before Dagster kills the tick.

    Raises:
        ArchiveUnreachable: It had not answered in full by then.
    """
    with open_source(settings, pacing=_PACING) as source:
        timer = threading.Timer(_MAX_REQUESTS_S, source.stop)
        timer.start()
        try:
            yield source
        except Stopped:
            problem = f"{settings.address} had not answered in full after {_MAX_REQUESTS_S:.0f} s"
            raise ArchiveUnreachable(problem) from None
        finally:
            timer.cancel()
