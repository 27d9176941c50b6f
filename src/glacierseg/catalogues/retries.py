"""Requests that are repeated: which faults may pass, and how long the pauses are."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Pauses before a request is repeated; each is twice the one before."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of HTTP of servers that are busy or fail for a while."""


class PassingError(Exception):
    """A fault that may be over when the request is repeated.

    Attributes:
        wait_s: How long the server asks to wait.
    """

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s


def pause_s(tried: int) -> float:
    """Returns the pause after a number of requests that failed, not counting the first one."""
    return min(FIRST_PAUSE_S * 2.0**tried, LONGEST_PAUSE_S)
