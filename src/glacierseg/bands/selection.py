"""The best few bands, and how sure that choice is."""

import math
from collections.abc import Sequence

from glacierseg.bands.result import BandImportance


def top_bands(importance: Sequence[BandImportance], count: int, order: Sequence[str]) -> tuple[str, ...]:
    """Returns the most important bands in the order in which the scene has them.

    Args:
        importance: From any measure.
        count: How many.
        order: All bands of the scene.
    """
    best = {entry.band for entry in importance if entry.rank <= count}
    return tuple(band for band in order if band in best)


def unmeasured_message(importance: Sequence[BandImportance], count: int) -> str | None:
    """Names the chosen bands without measurable importance; None where there are none.

    Args:
        importance: From any measure.
        count: How many bands are chosen.
    """
    chosen = [entry for entry in importance if entry.rank <= count]
    useful = [entry for entry in chosen if entry.measurable is not False]
    empty = [entry.band for entry in chosen if entry.measurable is False]
    if not empty:
        return None
    rest = sum(entry.measurable is False for entry in importance)
    # No band can be chosen where none can be told from noise, so there is no smaller number to ask for.
    cure = (
        f"Only {len(useful)} can; ask for so many, or measure on more patches"
        if useful
        else "None can; measure on more patches, or a network that was trained for longer"
    )
    return (
        f"no measurable importance: {', '.join(empty)}; {'it is' if len(empty) == 1 else 'they are'} chosen "
        f"only because {count} bands are wanted, out of {rest} that cannot be told from noise. {cure}"
    )


def tie_message(importance: Sequence[BandImportance], count: int) -> str | None:
    """Says which bands could as well have been chosen otherwise; None where the choice is clear.

    The last chosen and the first band that was not are tied when they differ by less than the standard error
    of their difference, the root of the sum of the squares of both errors. All others that lie as close to
    the boundary are named too. Bands with and without measurable importance are not tied; where both lack it,
    `unmeasured_message` says so.

    Args:
        importance: From any measure.
        count: How many bands are chosen.
    """
    ranked = sorted(importance, key=lambda entry: entry.rank)
    if not 0 < count < len(ranked):
        return None
    last, following = ranked[count - 1], ranked[count]
    if last.measurable is False or not _tied(last, following):
        return None
    rivals = [entry.band for entry in ranked[count:] if _tied(last, entry)]
    unsure = [entry.band for entry in ranked[:count] if _tied(entry, following)]
    gap = last.importance - following.importance
    if gap == 0:
        reason = "are equal, so the order of the scene decides"
    else:
        reason = f"differ by {gap:.4f}, less than its standard error of {_error(last, following):.4f}"
    more = f"; as close: {', '.join(unsure)} in, {', '.join(rivals)} out" if len(rivals + unsure) > 2 else ""
    return (
        f"{last.band} (rank {count}, chosen) and {following.band} (rank {count + 1}, not chosen) {reason}: "
        f"another sample of patches may choose otherwise{more}"
    )


def _tied(better: BandImportance, worse: BandImportance) -> bool:
    if better.measurable is not worse.measurable:
        return False
    gap = better.importance - worse.importance
    return gap == 0 or gap < _error(better, worse)


def _error(one: BandImportance, other: BandImportance) -> float:
    return math.hypot(one.standard_error or 0.0, other.standard_error or 0.0)
