"""A budget of requests is spent once, whatever runs at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tcia_assets.metadata.budget import ProbeBudget, RequestBudget, alone_if_large, computing_on
from tcia_assets.store.cores import computing, count_cores


def test_a_budget_grants_what_is_left() -> None:
    budget = RequestBudget(5)
    assert [budget.take(wanted) for wanted in (2, 0, 2, 2, 1)] == [2, 0, 2, 1, 0]


def test_threads_share_a_budget() -> None:
    budget = ProbeBudget(100).sizes
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(budget.take, [3] * 80)) == 100


def test_sizes_and_probes_have_budgets_of_their_own() -> None:
    budget = ProbeBudget(1, 2)
    assert (budget.sizes.take(9), budget.probes.take(9)) == (1, 2)


def test_large_tables_exclude_each_other_and_small_ones_do_not() -> None:
    large, small = 20_001, 20_000

    def enter() -> None:
        with alone_if_large(large):
            pass

    with ThreadPoolExecutor(1) as pool:
        with alone_if_large(large), alone_if_large(small):
            waiting = pool.submit(enter)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        waiting.result(10)


def test_work_on_a_large_table_holds_a_core_too() -> None:
    def enter() -> None:
        with computing_on(20_001):
            pass

    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as cores:
            for _ in range(count_cores()):
                cores.enter_context(computing())
            waiting = pool.submit(enter)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        waiting.result(10)
