"""Which process a run lives in: one that was killed must not keep its Collections for ever.

What belongs here: the tag that says so, and whether such a process lives. What does not: which
Collections a run works on (`busy.py`).
"""

import os
import socket

import dagster as dg

PROCESS_TAG = "tcia/process"


def process_tag() -> dict[str, str]:
    """Marks a run as one that lives and dies with this process."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def tag_with_process(context: dg.AssetExecutionContext) -> None:
    """The run says that it lives in this process; our jobs run all their steps in one."""
    context.instance.add_run_tags(context.run.run_id, process_tag())


def is_gone(tag: str) -> bool:
    """Whether a process of this machine has ended; of others nothing is known."""
    host, _, pid = tag.partition(":")
    return host == socket.gethostname() and not _lives(int(pid))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it is there
        pass
    return True
