"""The result of a check."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from glacierseg.raster.open import edit_info, open_raster

Status = Literal["passed", "warning", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: What was checked, in a few words.
        status: ``passed``; ``warning``, usable but look at it; ``failed``, not usable.
        message: What was found, in one line.
        fix: What to do, a command to type where there is one; empty when there is nothing to do.
        per_band: Figures behind the message, by name of the band and of the figure; shares are 0 to 1.
    """

    name: str
    status: Status
    message: str
    fix: str = ""
    per_band: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        cure = f"; {self.fix}" if self.fix else ""
        return f"CheckResult({self.status}: {self.name}, {self.message}{cure})"


def command(*words: str | Path) -> str:
    """Returns a command line for a shell, with blanks in paths quoted."""
    return shlex.join(str(word) for word in words)


def edit_file(path: Path, *options: str) -> str:
    """Returns a command line that changes what a raster declares, see `glacierseg.raster.open.edit_info`."""
    with open_raster(path) as dataset:
        return edit_info(dataset, *options)


def is_usable(results: Iterable[CheckResult]) -> bool:
    """Whether no check failed."""
    return all(result.status != "failed" for result in results)
