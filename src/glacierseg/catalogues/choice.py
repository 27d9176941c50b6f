"""Which images of a catalogue are taken: the best one of each tile, or the fewest that show all ice."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.rating import (
    CLEARLY,
    SEEN,
    Rating,
    Seen,
    contradiction,
    in_words,
    percent,
    rate,
)
from glacierseg.catalogues.sun import as_utc
from glacierseg.errors import RequestError
from glacierseg.settings.fetch import FetchSettings

LEAST_GAIN = 0.01
"""Share of the wanted ground that one more image of a composite has to add."""
LEAST_OF_A_TILE = 0.001
"""Share of the wanted ground that the best image of one more tile has to add."""

SAME_DAY = 0.02
"""How much better an image has to be to be taken beside images of another day of the tiles around it."""

# A factor that is so much smaller than that of a better image is a reason.
_REASON = 0.97
_REASONS = 2
# So many ways to show more are tried.
_WAYS = 5
# What makes two products of Sentinel-2 parts of one image: mission, level, start of sensing, baseline, orbit.
_START = re.compile(r"S2._MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_")


@dataclass(frozen=True)
class Choice:
    """What became of a candidate.

    Attributes:
        seen: What it shows.
        rating: How good it is.
        taken: Whether it is taken.
        rank: From 1; those that are taken come first, the best one before the others.
        why: The reason, in words.
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
    """What is taken of all candidates.

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
        seen: What all candidates show; their order makes no difference.
        wanted: `(H, W)` True for the ground to show, on the common grid: the glaciers, or the place where
            none are known.
        settings: The limits, and whether a composite is wanted.

    Raises:
        RequestError: None is good enough; the message says which limits would take the best one.
    """
    if not seen:
        raise RequestError("a choice needs at least one image; ask for other days with --date")
    return _Chooser(seen, wanted, settings).run()


@dataclass
class _Entry:
    """A candidate on its way; `shows` is of the cells of wanted ground alone."""

    seen: Seen
    rating: Rating
    shows: NDArray[np.bool_] = field(repr=False)
    gain: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        candidate = self.seen.candidate
        return candidate.name, candidate.item, candidate.address

    @property
    def name(self) -> str:
        return self.seen.candidate.name

    @property
    def tile(self) -> str:
        return self.seen.candidate.tile

    @property
    def sensor(self) -> str:
        return self.seen.candidate.sensor

    @property
    def day(self) -> date:
        return as_utc(self.seen.candidate.acquired).date()

    @property
    def image(self) -> tuple[str, ...]:
        """The same for the parts of one image of a tile."""
        found = _START.match(self.name)
        return (found[0], self.tile) if found else self.key


class _Chooser:
    """Chooses once."""

    def __init__(self, seen: Sequence[Seen], wanted: NDArray[np.bool_], settings: FetchSettings) -> None:
        self.seen, self.wanted, self.settings = seen, wanted, settings
        self.least = CLEARLY if settings.composite else SEEN
        self.gain = LEAST_GAIN if settings.composite else LEAST_OF_A_TILE
        self.ground = "glaciers" if any(one.glaciers for one in seen) else "place"
        self.cells = max(int(wanted.sum()), 1)
        entries = [
            _Entry(one, rating, one.cells[wanted] >= self.least)
            for one, rating in zip(seen, rate(seen, settings), strict=True)
        ]
        for entry in entries:
            if not entry.shows.any():
                blind = f"shows nothing of the {self.ground}" + (
                    " without cloud" if settings.composite else ""
                )
                entry.rating = replace(entry.rating, refused=blind, cure=None)
        self.entries = sorted(entries, key=lambda one: (-one.rating.score, one.key))
        self.good = [one for one in self.entries if one.rating.refused is None]
        self.best: dict[str, _Entry] = {}

    def run(self) -> Chosen:
        if not self.good:
            raise RequestError(self._none_good())
        taken = self.of_one_sensor()
        shown = np.any([one.shows for one in taken], axis=0)
        others = [one for one in self.good if not any(one is other for other in taken)]
        refused = [one for one in self.entries if one.rating.refused is not None]
        ranked = [(one, self._why_taken(one)) for one in taken]
        ranked += [(one, self._why_not(one, taken, shown)) for one in others]
        ranked += [(one, str(one.rating.refused)) for one in refused]
        choices = tuple(
            Choice(one.seen, one.rating, rank <= len(taken), rank, _with_contradiction(why, one.seen))
            for rank, (one, why) in enumerate(ranked, 1)
        )
        return Chosen(choices, float(shown.mean()), self._remark(taken, shown))

    def of_one_sensor(self) -> list[_Entry]:
        """Takes images of the sensor that shows the place best, since a scene is of one."""
        found = []
        for sensor in sorted({one.sensor for one in self.good}):
            own = [one for one in self.good if one.sensor == sensor]
            best = _best_by_tile(own)
            images = {one.image for one in best.values()}
            # Of the best image also the other part, where the agency split it.
            offered = own if self.settings.composite else [one for one in own if one.image in images]
            taken = self._cover(offered)
            found.append((sum(one.gain * self._worth(one) for one in taken), best, taken))
        _, self.best, taken = max(found, key=lambda one: one[0])
        return taken

    def _worth(self, one: _Entry) -> float:
        """What a cell of an image counts: its share of ground is in the number of cells."""
        hidden = 1.0 if self.settings.composite else one.rating.factors["cloud"]
        return one.rating.quality * hidden

    def _cover(self, offered: Sequence[_Entry]) -> list[_Entry]:
        """Takes what adds most until more adds little; the best one comes first."""
        taken: list[_Entry] = []
        left, shown = list(offered), np.zeros(offered[0].shows.shape, bool)
        while left:
            gains = [int((one.shows & ~shown).sum()) / self.cells for one in left]
            # `left` is in order of score and name, and the first one of equals counts.
            enough = [n for n, gain in enumerate(gains) if gain and (gain >= self.gain or not taken)]
            if not enough:
                break
            at = max(enough, key=lambda n: (gains[n] * self._worth(left[n]), gains[n]))
            one = left.pop(at)
            one.gain = gains[at]
            taken.append(one)
            shown |= one.shows
        return sorted(self._needed(taken), key=lambda one: (-self._worth(one), one.key))

    @staticmethod
    def _needed(taken: list[_Entry]) -> list[_Entry]:
        """Leaves out, from the last one taken, what the others have come to show without it."""
        needed = list(taken)
        for one in reversed(taken):
            others = [other.shows for other in needed if other is not one]
            if others and not (one.shows & ~np.any(others, axis=0)).any():
                needed = [other for other in needed if other is not one]
        return needed

    def _why_taken(self, one: _Entry) -> str:
        best, tile = self.best[one.tile], one.tile
        rivals = [other for other in self.entries if (other.tile, other.sensor) == (tile, one.sensor)]
        count, good = len(rivals), [other.rating.score for other in rivals if not other.rating.refused]
        if one is best and one.rating.score < max(good):
            why = f"nearly the best of {count} of {tile}, and of one day with another tile"
        elif one is best:
            why = f"best of {count} of {tile}" if count > 1 else f"the only one of {tile}"
        elif not self.settings.composite:
            why = f"part of the same image as {best.name}"
        else:
            why = f"adds {percent(one.gain)} of the {self.ground}"
        return f"{why}: {in_words(one.seen)}"

    def _why_not(self, one: _Entry, taken: Sequence[_Entry], shown: NDArray[np.bool_]) -> str:
        score = f"score {one.rating.score:.2f}"
        if one.sensor != taken[0].sensor:
            return f"{score}; a scene is of one sensor, and {taken[0].sensor} shows the {self.ground} better"
        best = self.best[one.tile]
        if not self.settings.composite and one is not best and one.image != best.image:
            told = f"{score}, and {best.name} has {best.rating.score:.2f}"
            if one.rating.score > best.rating.score:
                return f"{told} and is of one day with another tile"
            return f"{told}: {_worse(one, best)}"
        gain = self._gain(one, shown)
        names = ", ".join(other.name for other in taken[:2]) + (", ..." if len(taken) > 2 else "")
        added = f"{100 * gain:.2g} % of the {self.ground}" if gain else "nothing"
        return f"{score}; adds {added} to what {names} show{'s' if len(taken) == 1 else ''}"

    def _none_good(self) -> str:
        best = next((one for one in self.entries if one.rating.cure), self.entries[0])
        count, refused = len(self.entries), f"{best.name}: {best.rating.refused}"
        said = f"none of {count} images is good enough; the best one is {refused}"
        if count == 1:
            said = f"the only image is not good enough; {refused}"
        if not best.rating.cure:
            return f"{said}; ask for other days with --date"
        return (
            f"{said}; ask for other days with --date, or take it with {_options(best.rating.cure)}"
            f"{self._about_ice(best)}"
        )

    @staticmethod
    def _about_ice(one: _Entry) -> str:
        if one.seen.glaciers is None and "max_snow" in (one.rating.cure or {}):
            return "; with known glaciers (--existing) only snow beside them counts"
        return ""

    def _gain(self, one: _Entry, shown: NDArray[np.bool_]) -> float:
        return int((one.shows & ~shown).sum()) / self.cells

    def _remark(self, taken: Sequence[_Entry], shown: NDArray[np.bool_]) -> str | None:
        """Says what is not shown, and what would show more of it."""
        now = float(shown.mean())
        if 1 - now < self.gain:
            return None
        said = f"{percent(1 - now)} of the {self.ground} is on no image that is taken"
        for words, change in self._ways(taken, shown):
            other = _Chooser(self.seen, self.wanted, self.settings.model_copy(update=change))
            # A composite shows nothing where all is under cloud.
            shows = [one.shows for one in other.of_one_sensor()] if other.good else [np.zeros_like(shown)]
            then = float(np.any(shows, axis=0).mean())
            if then >= now + LEAST_GAIN:
                return f"{said}; {words}, which leaves {percent(1 - then)}"
        return f"{said}; ask for more days with --date"

    def _ways(
        self, taken: Sequence[_Entry], shown: NDArray[np.bool_]
    ) -> Iterator[tuple[str, Mapping[str, float]]]:
        """What may show more, in words, and the settings for it."""
        others = [one for one in self.entries if one.rating.cure and self._gain(one, shown) >= LEAST_GAIN]
        if not self.settings.composite:
            yield "take several images of each tile with --composite", {"composite": True}
            # Another one of a tile that has an image would not be taken.
            others = [one for one in others if one.tile not in self.best]
        others = [one for one in others if one.sensor == taken[0].sensor]
        for one in sorted(others, key=lambda one: -self._gain(one, shown))[:_WAYS]:
            limits = one.rating.cure or {}
            take = f"{one.name} ({one.rating.refused}) with {_options(limits)}"
            yield f"ask for more days with --date, or take {take}", limits


def _best_by_tile(ranked: Sequence[_Entry]) -> dict[str, _Entry]:
    """Returns the best image of each tile; of nearly equal ones that of a day which another tile has.

    Two days side by side differ in snow and light along the seam.
    """
    found: dict[str, _Entry] = {}
    for top in ranked:
        if top.tile in found:
            continue
        days = {one.day for one in found.values()}
        near = (
            one
            for one in ranked
            if one.tile == top.tile and one.day in days and one.rating.score >= top.rating.score - SAME_DAY
        )
        found[top.tile] = next(near, top)
    return found


def _options(limits: Mapping[str, float]) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in limits.items())


def _worse(one: _Entry, best: _Entry) -> str:
    """Says in what an image is worse than a better one, the greatest difference first."""
    own, other = one.seen, best.seen

    def both(name: str) -> str:
        shares = (getattr(seen, name) or 0.0 for seen in (own, other))
        return "({}, not {})".format(*map(percent, shares))

    beside = "beside the glaciers" if own.glaciers else "of the place"
    words = {
        "data": f"more without data {both('counted_no_data')}",
        "cloud": f"more cloud {own.where} {both('counted_cloud')}",
        "snow": f"more snow {beside} {both('counted_snow')}",
        "sun": f"lower sun and longer shadows ({own.sun_deg:.0f} degrees, not {other.sun_deg:.0f})",
        "season": f"farther outside the season of bare ice ({own.off_season_days} days, "
        f"not {other.off_season_days})",
        "age": f"older ({one.day})",
    }
    ratios = {
        name: value / best.rating.factors[name] if best.rating.factors[name] else 1.0
        for name, value in one.rating.factors.items()
    }
    reasons = sorted((ratio, name) for name, ratio in ratios.items() if ratio < _REASON)
    return ", ".join(words[name] for _, name in reasons[:_REASONS]) or in_words(own)


def _with_contradiction(why: str, seen: Seen) -> str:
    more = contradiction(seen)
    return f"{why}; {more}" if more else why
