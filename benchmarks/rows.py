"""Rows of a benchmark of many parts: a failure costs one row, and time is kept to."""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from glacierseg import log
from glacierseg.raster.write import write_text


@dataclass(frozen=True)
class Row:
    """What a part found: a rate, and its ratio to something else, which may have a goal."""

    rate: float | None = None
    unit: str = ""
    ratio: float | None = None
    of: str = ""
    goal: float | None = None
    note: str = ""
    peak_gb: float | None = None
    part: str = ""
    network: str = ""
    seconds: float = 0.0

    @property
    def falls_short(self) -> bool:
        return None not in (self.goal, self.ratio) and self.ratio < self.goal  # type: ignore[operator]

    @property
    def cells(self) -> list[str]:
        verdict = (
            "" if self.goal is None else f"{'FALLS SHORT of' if self.falls_short else 'of'} {self.goal:.0%}"
        )
        figures = (
            f"{self.rate:.4g} {self.unit}" if self.rate is not None else "",
            f"{self.ratio:.3f} {self.of}" if self.ratio is not None else "",
            verdict if self.ratio is not None else "",
            f"{self.peak_gb:.1f}" if self.peak_gb is not None else "",
        )
        return [self.part, self.network, *figures, self.note]


@dataclass(frozen=True)
class Part:
    """Something to measure, and the seconds that it is thought to take."""

    name: str
    network: str
    estimate_s: float
    run: Callable[[], Row]


class Report:
    """The rows so far, which end as a table and a file, at the latest when time is over."""

    def __init__(self, path: Path, facts: Mapping[str, Any], left_s: float, scratch: Path) -> None:
        self.path, self.facts, self.scratch, self.rows = path, facts, scratch, list[Row]()
        self.end = time.monotonic() + left_s
        self.lock = threading.Lock()

    @property
    def left_s(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def add(self, row: Row) -> None:
        """Keeps a row, in the file too: what is measured is not lost with the machine."""
        with self.lock:
            self.rows.append(row)
            rows = [asdict(own) | {"falls_short": own.falls_short} for own in self.rows]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps({"facts": self.facts, "rows": rows}, indent=2) + "\n")

    def measure(self, parts: Sequence[Part], run: Callable[[Part], Row]) -> None:
        """Measures parts, of which the dear ones should come last: those that take too long are left out.

        How fast the machine is shows in the parts before. When time is over, the process ends, whatever it
        waits for: a compiler may take longer than all there is.
        """
        timer = threading.Timer(self.left_s, self.stop)
        timer.daemon = True
        timer.start()
        estimated_s = taken_s = 0.0
        try:
            for part in parts:
                needed_s = part.estimate_s * (taken_s / estimated_s if estimated_s else 1.0)
                if needed_s > self.left_s:
                    note = f"left out: takes about {needed_s:.0f} s, and {self.left_s:.0f} s are left"
                    self.add(Row(part=part.name, network=part.network, note=note))
                    continue
                started = time.monotonic()
                row = self.tried(part, run)
                seconds = time.monotonic() - started
                estimated_s, taken_s = estimated_s + part.estimate_s, taken_s + seconds
                self.add(replace(row, part=part.name, network=part.network, seconds=round(seconds, 2)))
                print(f"{seconds:6.1f} s  {part.name}  {part.network}", file=sys.stderr, flush=True)
        finally:
            timer.cancel()
            self.show()

    def tried(self, part: Part, run: Callable[[Part], Row]) -> Row:
        try:
            return run(part)
        except Exception as error:  # noqa: BLE001  (whatever it is, the other parts go on)
            return Row(note=f"failed: {first_line(error)}")

    def stop(self) -> None:
        """Ends the process with what there is."""
        self.add(Row(part="the rest", note="time was over before it was measured"))
        self.show()
        shutil.rmtree(self.scratch, ignore_errors=True)
        os._exit(0)

    def show(self) -> None:
        """Prints the table."""
        columns = "part", "network", "rate", "ratio", "goal", "peak GB", "note"
        print(log.table(None, columns, [row.cells for row in self.rows]))
        short = [f"{row.part} ({row.network})" for row in self.rows if row.falls_short]
        print(f"falls short: {', '.join(short) or 'nothing that was measured'}\n{self.path}", flush=True)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:150]}"
