"""Tokens that a catalogue gives to everybody, and that run out."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from glacierseg.catalogues.addresses import shown
from glacierseg.errors import DownloadError

_MARGIN_S = 60.0


class Tokens:
    """Tokens by where they come from; asked for once, and again when they run out."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        """Begins without any.

        Args:
            ask: Gives what a token's address answers, as JSON.
        """
        self._ask = ask
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, datetime | None]] = {}

    def get(self, source: str) -> str:
        """Returns the token of an address.

        Raises:
            DownloadError: There is none.
        """
        with self._lock:
            known = self._known.get(source)
            if known is None or (known[1] and (known[1] - datetime.now(UTC)).total_seconds() < _MARGIN_S):
                known = self._known[source] = _understood(source, self._ask(source))
            return known[0]

    def drop(self, source: str, token: str) -> None:
        """Forgets a token that was refused, unless there is a new one already."""
        with self._lock:
            if self._known.get(source, ("", None))[0] == token:
                del self._known[source]


def _understood(source: str, facts: Any) -> tuple[str, datetime | None]:
    try:
        token = str(facts["token"]).lstrip("?")
        ends = datetime.fromisoformat(facts["msft:expiry"]) if facts.get("msft:expiry") else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(f"{shown(source)}: gives no token to read files; try again later") from error
    return token, ends.replace(tzinfo=UTC) if ends and ends.tzinfo is None else ends
