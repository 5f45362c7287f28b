"""Timeouts and retries: how long to wait for a server, and how often to send a request again."""

from __future__ import annotations

from dataclasses import dataclass

from tcia_assets.errors import ArchiveBroken, RemoteError, UnknownReply, UnreadableReply

_CATCH_ALL = 500


@dataclass(frozen=True)
class Pacing:
    """Timeouts, in seconds, and limits on retries.

    Attributes:
        attempts: Attempts per request.
        attempts_when_in_doubt: Attempts if the error may be permanent: a status 500 is also the
            answer to a wrong parameter, and empty or unreadable replies seldom get better.
        first_wait_s: Wait after the first failure; it doubles each time.
        longest_wait_s: Upper limit of that wait.
        longest_retry_after_s: Upper limit of a wait that the server requests.
        longest_silent_wait_s: A longer wait is noted, so that it does not look like a hang.
        connect_timeout_s: Time for a connection to be made.
        read_timeout_s: Longest time without a single byte.
        slowest_read_s: Time for one read of the body: 16 KiB on a slow connection. A large read, on
            a connection that was fast until then, has up to twice that time.
    """

    attempts: int = 5
    attempts_when_in_doubt: int = 3
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    longest_retry_after_s: float = 300.0
    longest_silent_wait_s: float = 10.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0
    slowest_read_s: float = 60.0

    def most_attempts(self, error: RemoteError) -> int:
        """Return how many attempts a request that fails like this is given."""
        if not error.retryable:
            return 1
        in_doubt = isinstance(error, UnreadableReply | UnknownReply) or error.status == _CATCH_ALL
        return self.attempts_when_in_doubt if in_doubt else self.attempts

    def may_retry(self, error: RemoteError, attempt: int) -> bool:
        """Return whether to try again after attempt number `attempt` (1, 2, ...) failed."""
        return attempt < self.most_attempts(error)

    def wait_s(self, error: RemoteError, attempt: int, chance: float) -> float:
        """Return the seconds until the next attempt.

        `chance` in [0, 1) is random: it spreads clients that failed at the same moment.

        >>> Pacing().wait_s(ArchiveBroken("busy"), attempt=3, chance=0.5)
        1.5
        """
        if isinstance(error, ArchiveBroken) and error.retry_after_s is not None:
            return min(error.retry_after_s, self.longest_retry_after_s)
        longest = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        return longest * (0.5 + chance / 2)
