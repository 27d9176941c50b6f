"""Which images of a catalogue are taken: the best one of each tile, or the fewest that show all ice."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.rating import CLEARLY, FACTORS, SEEN, Rating, Seen, in_words, percent, rate
from glacierseg.errors import RequestError
from glacierseg.raster.write import write_text
from glacierseg.settings.fetch import FetchSettings

LEAST_GAIN = 0.01
"""Share of the wanted ground that one more image of a composite has to add."""
LEAST_OF_A_TILE = 0.001
"""Share of the wanted ground that the best image of one more tile has to add."""
SAME_DAY = 0.02
"""How much better an image must be than one of the same day as the tiles around it."""
CONTRADICTION = 0.3
"""A catalogue's share of cloud is quoted where it differs by more from that of the classes."""

# A factor below this share of the better image's is a reason; two reasons are given.
_REASON, _REASONS = 0.97, 2


@dataclass(frozen=True)
class Choice:
    """What became of a candidate.

    Attributes:
        seen: What it shows.
        rating: How good it is.
        taken: Whether it is taken.
        rank: From 1; those that are taken come first, the best one before the others.
        why: The reason.
    """

    seen: Seen
    rating: Rating
    taken: bool
    rank: int
    why: str

    @property
    def candidate(self) -> Candidate:
        """The image."""
        return self.seen.candidate


@dataclass(frozen=True)
class Chosen:
    """The candidates with what became of each.

    Attributes:
        choices: One for each candidate, by rank.
        shown: Share of the wanted ground that the taken images show, 0-1; in a composite without cloud.
        remark: What to do where that is not all; None where it is.
    """

    choices: tuple[Choice, ...]
    shown: float
    remark: str | None = None

    @property
    def taken(self) -> tuple[Candidate, ...]:
        """The images that are taken, the best one first."""
        return tuple(one.candidate for one in self.choices if one.taken)


def choose(seen: Sequence[Seen], wanted: NDArray[np.bool_], settings: FetchSettings) -> Chosen:
    """Chooses images of a place.

    Args:
        seen: What the candidates show, of at least one; their order makes no difference.
        wanted: `(H, W)` True for the ground to show, on the common grid: the glaciers, or the place where
            none are known.
        settings: The limits, and whether a composite is wanted.

    Raises:
        RequestError: None is good enough; the message says which limits would take the best one.
    """
    return _Chooser(seen, wanted, settings).run()


@dataclass
class _Entry:
    """A candidate during the choice: the wanted cells that it shows, and the share that it adds."""

    seen: Seen
    rating: Rating
    shows: NDArray[np.bool_] = field(repr=False)
    gain: float = 0.0

    @property
    def own(self) -> Candidate:
        return self.seen.candidate

    @property
    def day(self) -> date:
        return self.own.acquired.date()


class _Chooser:
    """One choice among candidates."""

    def __init__(self, seen: Sequence[Seen], wanted: NDArray[np.bool_], settings: FetchSettings) -> None:
        self.is_composite = settings.composite
        self.least_gain = LEAST_GAIN if settings.composite else LEAST_OF_A_TILE
        self.ground = "glaciers" if any(one.glaciers for one in seen) else "place"
        entries = []
        for one, rating in zip(seen, rate(seen, settings), strict=True):
            shows = one.cells[wanted] >= (CLEARLY if settings.composite else SEEN)
            if not shows.any():
                blind = f"shows nothing of the {self.ground}{' without cloud' if settings.composite else ''}"
                rating = replace(rating, refused=blind, cure=None)  # noqa: PLW2901
            entries.append(_Entry(one, rating, shows))
        self.wanted = wanted
        self.entries = sorted(entries, key=lambda one: (-one.rating.score, one.own.name))
        self.good = [one for one in self.entries if one.rating.refused is None]

    def run(self) -> Chosen:
        if not self.good:
            raise RequestError(self._none_good())
        best, taken = self._of_one_sensor()
        shown = np.any([one.shows for one in taken], axis=0)
        others = [one for one in self.good if not any(one is other for other in taken)]
        ranked = [(one, self._why_taken(one, best)) for one in taken]
        ranked += [(one, self._why_not(one, best, shown)) for one in others]
        ranked += [(one, one.rating.refused) for one in self.entries if one.rating.refused]
        choices = tuple(
            Choice(one.seen, one.rating, rank <= len(taken), rank, f"{why}{_contradiction(one.seen)}")
            for rank, (one, why) in enumerate(ranked, 1)
        )
        return Chosen(choices, float(shown.mean()), self._remark(shown, taken[0].own.sensor))

    def _of_one_sensor(self) -> tuple[dict[str, _Entry], list[_Entry]]:
        """Returns the best image of each tile and all that are taken, since a scene is of one sensor."""
        found = []
        for sensor in sorted({one.own.sensor for one in self.good}):
            offered = [one for one in self.good if one.own.sensor == sensor]
            best = _best_by_tile(offered)
            if not self.is_composite:
                # Of the best image also the other part, where the agency split it.
                images = {one.own.image for one in best.values()}
                offered = [one for one in offered if one.own.image in images]
            taken = self._cover(offered)
            found.append((sum(one.gain * self._value(one) for one in taken), best, taken))
        _, best, taken = max(found, key=lambda one: one[0])
        return best, taken

    def _value(self, one: _Entry) -> float:
        """The weight of each cell of an image: its factors without those that the cells show already."""
        hidden = {"data", "cloud"} if self.is_composite else {"data"}
        return math.prod(value for name, value in one.rating.factors.items() if name not in hidden)

    def _cover(self, offered: Sequence[_Entry]) -> list[_Entry]:
        """Takes the image that adds most until the next one adds little; the best one comes first."""
        taken: list[_Entry] = []
        left, shown = list(offered), np.zeros(offered[0].shows.shape, bool)
        while left:
            for one in left:
                one.gain = float((one.shows & ~shown).mean())
            enough = [one for one in left if one.gain >= self.least_gain] if taken else left
            if not enough:
                break
            # They are in order of score and name, and of equal ones the first is taken.
            top = max(enough, key=lambda one: (one.gain * self._value(one), one.gain))
            left = [one for one in left if one is not top]
            taken.append(top)
            shown |= top.shows
        for one in reversed(list(taken)):
            # Left out if the others have come to show all that it shows.
            others = [other for other in taken if other is not one]
            if others and not (one.shows & ~np.any([other.shows for other in others], axis=0)).any():
                taken = others
        return sorted(taken, key=lambda one: (-self._value(one), one.own.name))

    def _why_taken(self, one: _Entry, best: dict[str, _Entry]) -> str:
        tile, top = one.own.tile, best[one.own.tile]
        count = sum(other.own.tile == tile and other.own.sensor == one.own.sensor for other in self.entries)
        why = f"best of {count} of {tile}" if count > 1 else f"the only one of {tile}"
        if one is not top:
            why = f"adds {percent(one.gain)} of the {self.ground}"
            why = why if self.is_composite else f"part of the same image as {top.own.name}"
        return f"{why}: {in_words(one.seen)}"

    def _why_not(self, one: _Entry, best: dict[str, _Entry], shown: NDArray[np.bool_]) -> str:
        score, sensor = f"score {one.rating.score:.2f}", next(iter(best.values())).own.sensor
        if one.own.sensor != sensor:
            return f"{score}; a scene is of one sensor, and {sensor} shows the {self.ground} better"
        top = best[one.own.tile]
        if not self.is_composite and one.own.image != top.own.image:
            compared = f"{score}, and {top.own.name} has {top.rating.score:.2f}"
            if one.rating.score > top.rating.score:
                return f"{compared} and is of one day with another tile"
            return f"{compared}: {_worse(one.rating, top.rating)}{in_words(one.seen)}"
        gain = 100 * float((one.shows & ~shown).mean())
        return f"{score}; adds {f'{gain:.2g} %' if gain else 'nothing'} to what is shown of the {self.ground}"

    def _none_good(self) -> str:
        best = next((one for one in self.entries if one.rating.cure), self.entries[0])
        said = (
            f"no image is good enough; the best one of {len(self.entries)} is {best.own.name}: "
            f"{best.rating.refused}; ask for other days with --date"
        )
        cure = best.rating.cure or {}
        if cure:
            options = (f"--{name.replace('_', '-')} {value:g}" for name, value in cure.items())
            said += f", or take it with {' '.join(options)}"
        if best.seen.glaciers is None and "max_snow" in cure:
            said += "; with known glaciers (--existing) only snow beside them counts"
        return said

    def _remark(self, shown: NDArray[np.bool_], sensor: str) -> str | None:
        """Says what is not shown, and what to do."""
        if 1 - shown.mean() < self.least_gain:
            return None
        share = round(100 * (1 - float(shown.mean())), 1)
        said = f"{share:g} % of the {self.ground} is on no image that is taken; ask for more "
        said += "days with --date"
        same = [one.seen.cells[self.wanted] == CLEARLY for one in self.good if one.own.sensor == sensor]
        if not self.is_composite and np.any(same, axis=0).mean() >= shown.mean() + LEAST_GAIN:
            said += ", or take several images of each tile with --composite"
        return said


def _best_by_tile(ranked: Sequence[_Entry]) -> dict[str, _Entry]:
    """Returns the best image of each tile; of nearly equal ones that of a day which another tile has.

    Two days side by side differ in snow and light along the seam.
    """
    found: dict[str, _Entry] = {}
    for tile in dict.fromkeys(one.own.tile for one in ranked):
        days = {one.day for one in found.values()}
        own = [one for one in ranked if one.own.tile == tile]
        near = [one for one in own if one.rating.score >= own[0].rating.score - SAME_DAY]
        found[tile] = next((one for one in near if one.day in days), own[0])
    return found


def _worse(one: Rating, best: Rating) -> str:
    """Returns how an image is worse than a better one, the greatest difference first."""
    ratios = {name: one.factors[name] / best.factors[name] for name in FACTORS if best.factors[name]}
    reasons = sorted((ratio, name) for name, ratio in ratios.items() if ratio < _REASON)
    words = ", ".join(FACTORS[name] for _, name in reasons[:_REASONS])
    return f"{words}; " if words else ""


def _contradiction(seen: Seen) -> str:
    """Quotes a catalogue's share of cloud beside that of the classes where they differ much."""
    told = seen.candidate.cloud_said
    if told is None or seen.no_data >= 1 or abs(told - seen.cloud) <= CONTRADICTION:
        return ""
    return f"; the catalogue says cloud {percent(told)}, the classes show {percent(seen.cloud)} here"


_NUMBERS = ("glaciers", "no_data", "cloud", "cloud_beside", "snow", "cloud_said", "sun_deg", "score")
COLUMNS = (
    "rank", "taken", "why", "name", "item", "sensor", "tile", "acquired", "baseline", "processed", *_NUMBERS,
    "off_season_days", "age_days", "address",
)  # fmt: skip
"""Columns of `scenes.csv`."""


def write_choices(path: Path, chosen: Chosen, left_out: Sequence[tuple[str, str]] = ()) -> None:
    """Writes `scenes.csv`: a row for each candidate by rank, then those that were left out.

    Args:
        path: The file.
        chosen: What became of the candidates.
        left_out: Items that are no candidates, with the reason.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for choice in chosen.choices:
        own = choice.candidate
        row = {**vars(own), **vars(choice.seen), **vars(choice), "score": choice.rating.score}
        row |= {name: row[name] if row[name] is None else round(float(row[name]), 4) for name in _NUMBERS}
        row |= {"taken": int(choice.taken), "address": shown(own.address)}
        writer.writerow(row | {"acquired": f"{own.acquired:%Y-%m-%dT%H:%M:%SZ}"})
    writer.writerows({"taken": 0, "why": why, "item": item} for item, why in sorted(left_out))
    write_text(path, text.getvalue())
