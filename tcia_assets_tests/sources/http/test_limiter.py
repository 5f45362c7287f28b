"""How many may be under way: the rule, driven by a clock of the test's own, and who goes next."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.errors import Stopped
from tcia_assets.sources.http.limiter import ConcurrencyLimiter, Limit

MOST = st.integers(1, 40)


def cut_to(most: int, now: int) -> Limit:
    """A limit that has been cut, one second apart, until it is not above `now`."""
    limit, at = Limit(most), 0.0
    while limit.now > now:
        at += 1.0
        limit.overloaded(sent_at=at - 0.5, at=at)
    return limit


# --- The rule -------------------------------------------------------------------------------------


@given(
    most=MOST,
    events=st.lists(
        st.tuples(
            st.sampled_from(["send", "good", "failed", "answered"]),
            st.integers(0, 100),
            st.floats(0, 100),
            st.sampled_from(["a", "b"]),
        ),
        max_size=200,
    ),
)
def test_whatever_happens_the_limit_is_from_one_to_the_most_and_no_burst_cuts_twice(
    most: int, events: list[tuple[str, int, float, str]]
) -> None:
    limit, sent, at, cut_at = Limit(most), [0.0], 0.0, -1.0
    for what, which, seconds, kind in events:
        at += seconds / 10
        sent_at, before = sent[which % len(sent)], limit.now
        if what == "send":
            sent.append(at)
        elif what == "good":
            limit.succeeded()
            assert before <= limit.now <= before + 1
        elif what == "failed":
            limit.overloaded(sent_at, at)
        else:
            limit.responded(kind, seconds, sent_at, at)
        if limit.now < before:
            assert sent_at > cut_at
            cut_at = at
        assert 1 <= limit.now <= most


@given(most=MOST)
def test_it_begins_at_the_most(most: int) -> None:
    assert Limit(most).now == most


@given(most=MOST, sent=st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_a_burst_of_failures_halves_it_once(most: int, sent: list[float]) -> None:
    limit = Limit(most)
    for number, sent_at in enumerate(sent):
        limit.overloaded(sent_at, at=10.0 + number)
    assert limit.now == max(1, most // 2)


@given(most=MOST, bursts=st.integers(0, 8))
def test_each_further_burst_halves_it_again_down_to_one(most: int, bursts: int) -> None:
    limit = Limit(most)
    for burst in range(bursts):
        limit.overloaded(sent_at=burst + 0.5, at=burst + 1.0)
    assert limit.now == max(1, most >> bursts)


@given(most=MOST, now=MOST)
def test_two_rounds_of_good_answers_let_one_more_in_and_never_more_than_the_most(
    most: int, now: int
) -> None:
    limit = cut_to(most, now)
    while (before := limit.now) < most:
        for _ in range(2 * before - 1):
            limit.succeeded()
        assert limit.now == before
        limit.succeeded()
        assert limit.now == before + 1
    for _ in range(10 * most):
        limit.succeeded()
    assert limit.now == most


@given(good=st.integers(0, 7))
def test_good_answers_before_a_cut_do_not_count_after_it(good: int) -> None:
    limit = cut_to(8, 4)
    for _ in range(good):
        limit.succeeded()
    limit.overloaded(sent_at=50.0, at=60.0)
    for _ in range(3):
        limit.succeeded()
    assert limit.now == 2


@given(most=MOST, seconds=st.lists(st.floats(0, 1.0), max_size=100))
def test_answers_within_a_second_are_never_slow(most: int, seconds: list[float]) -> None:
    limit = Limit(most)
    for number, each in enumerate(seconds):
        limit.responded("rows", each, sent_at=number, at=number + 0.5)
    assert limit.now == most


def slow(limit: Limit, answers: int, *, seconds: float = 9.0, start: float = 100.0) -> None:
    for number in range(answers):
        at = start + number * seconds
        limit.responded("rows", seconds, sent_at=at - seconds, at=at)


def test_many_slow_answers_in_a_row_take_one_slot_and_a_few_none() -> None:
    limit = Limit(8)
    limit.responded("rows", 0.5, sent_at=0.0, at=0.5)
    slow(limit, 4)
    assert limit.now == 8
    slow(limit, 1, start=150.0)
    assert limit.now == 7


@given(most=MOST, answers=st.integers(0, 200))
def test_slowness_alone_never_takes_more_than_half(most: int, answers: int) -> None:
    limit = Limit(most)
    limit.responded("rows", 0.01, sent_at=0.0, at=0.01)
    slow(limit, answers, seconds=2.0, start=2.0)
    assert limit.now >= most / 2


def test_a_slow_kind_of_question_is_compared_with_itself() -> None:
    limit = Limit(8)
    for number in range(20):
        limit.responded("values", 0.01, sent_at=number, at=number + 0.01)
        limit.responded("hierarchy", 30.0, sent_at=number, at=number + 30.0)
    assert limit.now == 8


def test_the_best_of_long_ago_does_not_count() -> None:
    limit = Limit(8)
    limit.responded("rows", 0.01, sent_at=0.0, at=0.01)
    for at in (400.0, 800.0):  # what is slow is the usual by then
        limit.responded("rows", 9.0, sent_at=at - 9.0, at=at)
    slow(limit, 20, start=900.0)
    assert limit.now == 8


# --- Who goes next --------------------------------------------------------------------------------


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def waiting(
    limiter: ConcurrencyLimiter, many: int, then: Callable[[int], None]
) -> Iterator[list[BaseException]]:
    """Threads that came to the limiter one after the other; the errors that they ended with."""
    errors: list[BaseException] = []

    def wait(number: int) -> None:
        try:
            with limiter.slot():
                then(number)
        except Stopped as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(many)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(limiter._waiting) == number + 1)  # type: ignore[misc]
    yield errors
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_who_came_first_goes_first() -> None:
    limiter, order = ConcurrencyLimiter(1), list[int]()
    with limiter.slot() as slot, waiting(limiter, 12, order.append):
        limiter._release(slot)
        slot.is_held = False
    assert order == list(range(12))


@pytest.mark.parametrize("most", [1, 2, 7])
def test_never_are_more_in_than_the_limit_was_when_they_were_let_in(most: int) -> None:
    limiter, lock, inside, highest = ConcurrencyLimiter(most), threading.Lock(), [0], [0]

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            with limiter.slot() as slot:
                with lock:
                    inside[0] += 1
                    highest[0] = max(highest[0], inside[0])
                time.sleep(0.0002)
                with lock:
                    inside[0] -= 1
                slot.overloaded() if chance.random() < 0.2 else slot.succeeded()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert 1 <= highest[0] <= most
    assert (inside[0], limiter._taken, len(limiter._waiting)) == (0, 0, 0)


def test_as_many_are_in_at_once_as_the_limit_says() -> None:
    limiter, together = ConcurrencyLimiter(5), threading.Barrier(5)
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda _: _meet(limiter, together), range(20)))
    assert limiter._taken == 0


def _meet(limiter: ConcurrencyLimiter, together: threading.Barrier) -> None:
    with limiter.slot():
        together.wait(10)


def test_after_a_cut_nobody_is_let_in_before_there_is_room_again() -> None:
    limiter, entered = ConcurrencyLimiter(4), list[int]()
    with limiter.slot() as last, limiter.slot():
        with limiter.slot() as first, limiter.slot():
            first.overloaded()
            assert limiter.limit == 2
            third = threading.Thread(target=lambda: _enter(limiter, entered))
            third.start()
            until(lambda: len(limiter._waiting) == 1)
        assert entered == []  # two of four have left: as many are in as may be
        limiter._release(last)
        last.is_held = False
        third.join(10)
        assert entered == [1]


def _enter(limiter: ConcurrencyLimiter, entered: list[int]) -> None:
    with limiter.slot():
        entered.append(1)


def test_more_room_lets_in_who_waits_while_nobody_leaves() -> None:
    limiter, entered = ConcurrencyLimiter(2), list[int]()
    with limiter.slot() as mine:
        mine.overloaded()
        assert limiter.limit == 1
        with waiting(limiter, 1, entered.append):
            mine.succeeded()
            assert entered == []
            mine.succeeded()
    assert entered == [0]


def test_an_exception_inside_gives_the_slot_back() -> None:
    limiter = ConcurrencyLimiter(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot():
            raise ZeroDivisionError
    assert limiter._taken == 0


def test_who_is_interrupted_while_waiting_leaves_the_queue() -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    limiter = ConcurrencyLimiter(1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with limiter.slot():
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt), limiter.slot():
                pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (limiter._taken, len(limiter._waiting)) == (0, 0)
    with limiter.slot():
        assert limiter._taken == 1


def test_stopping_ends_all_waiting_and_lets_nobody_in() -> None:
    limiter, entered = ConcurrencyLimiter(1), list[int]()
    with limiter.slot(), waiting(limiter, 5, entered.append) as errors:
        limiter.stop()
        limiter.stop()
        until(lambda: len(errors) == 5)
    assert entered == []
    with pytest.raises(Stopped), limiter.slot():
        pass
    assert (limiter._taken, len(limiter._waiting)) == (0, 0)
