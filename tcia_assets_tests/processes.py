"""Child processes that start in milliseconds, because their server has imported what they need."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# One list, because a test process has one such server: the first caller would choose for all.
_PRELOAD = ["dagster", "tcia_assets.definitions", "tcia_assets_tests.store.child_processes"]


def forkserver() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context
