"""The process that a run belongs to: a killed one must not block its Collections forever."""

import os
import socket

import dagster as dg

PROCESS_TAG = "tcia/process"


def process_tag() -> dict[str, str]:
    """Return the tag of a run that lives and dies with this process: its host and process id."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}"}


def tag_with_process(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> None:
    """Tag the run with this process; our jobs run all their steps in one."""
    context.instance.add_run_tags(context.run.run_id, process_tag())


def has_ended(tag: str) -> bool:
    """Return whether a process of this machine has ended; False for one of another machine."""
    host, _, pid = tag.partition(":")
    return host == socket.gethostname() and not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists, and belongs to another user
        pass
    return True
