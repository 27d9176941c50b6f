"""What a check says."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "warning", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: What was checked, in a few words.
        status: ``passed``; ``warning``, usable but look at it; ``failed``, not usable.
        message: What was found, in one line.
        fix: What to do, a command to type where there is one; empty when there is nothing to do.
    """

    name: str
    status: Status
    message: str
    fix: str = ""


def is_usable(results: Iterable[CheckResult]) -> bool:
    """Whether no check failed."""
    return all(result.status != "failed" for result in results)
