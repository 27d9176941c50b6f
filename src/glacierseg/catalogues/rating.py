"""How good an image is for outlines of glaciers, by what its own classes show of a place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.sun import sun_height_deg
from glacierseg.products.classes import CIRRUS, CLEAR, CLOUD, MISSING, SHADOW, SNOW
from glacierseg.raster.bounds import area_on_grid, middle_of
from glacierseg.raster.facts import SEASON_DAYS, days_apart_in_year
from glacierseg.raster.grid import Grid
from glacierseg.settings.fetch import FetchSettings

SEEN, CLEARLY = 1, 2
"""What an image shows of a cell: some ground, or ground that no cloud or shadow hides; 0 is nothing."""
FACTORS: Mapping[str, str] = {
    "data": "more without data",
    "cloud": "more cloud",
    "snow": "more snow",
    "sun": "lower sun and longer shadows",
    "season": "farther outside the season of bare ice",
    "age": "older",
}
"""What makes outlines worse, and the words for the image that has more of it."""

FULL_SUN_DEG = 45.0
"""Height of the sun from which shadows of relief no longer count."""
END_OF_SUMMER = {"north": (9, 15), "south": (3, 15)}
"""Month and day about which ice is barest, by hemisphere; between the tropics there is none."""
SEASON_LOSS = 0.4
"""What an image half a year from the end of summer loses; within `SEASON_DAYS` of it there is no loss."""
LOSS_PER_YEAR = 0.02
"""What an image loses for each year before the last day that is asked for."""

_CLOUDY = (CLOUD, CIRRUS, SHADOW)
_TROPIC_DEG = 23.44
_HALF_YEAR = 182.5
# With less ground beside glaciers, or less of it without cloud, a share of snow means little.
_LEAST_BESIDE, _LEAST_CLEAR = 0.01, 0.5
# Where cloud is this much more frequent over glaciers than beside them, it may be ice.
_LIKE_ICE = 0.3


@dataclass(frozen=True)
class Seen:
    """What an image shows of a place; shares 0-1, None where there is nothing to count.

    Attributes:
        candidate: The image.
        glaciers: Share of known glaciers on the place; None without an inventory.
        no_data: Share of pixels without data on the glaciers, or on a place without any.
        cloud: Share of cloud, cirrus and cloud shadow among those with data.
        cloud_beside: The same beside the glaciers; None without any.
        snow: Share of snow and ice without cloud beside the glaciers, or on a place without any.
        sun_deg: Height of the sun over the middle of the classes.
        off_season_days: How many days it lies outside the season of bare ice.
        age_days: Days from the image to the last day that is asked for.
        cells: 0, `SEEN` or `CLEARLY` on the common grid of all candidates.
    """

    candidate: Candidate
    glaciers: float | None
    no_data: float
    cloud: float
    cloud_beside: float | None
    snow: float | None
    sun_deg: float
    off_season_days: int
    age_days: int
    cells: NDArray[np.uint8] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Rating:
    """How good an image is.

    Attributes:
        factors: By the names of `FACTORS`, 1 where nothing is wrong and 0 where the image is useless.
        refused: Why it cannot be taken, in words; None where it can.
        cure: Limits of the settings that would allow it, by name; None where none would.
    """

    factors: Mapping[str, float]
    refused: str | None = None
    cure: Mapping[str, float] | None = None

    @property
    def score(self) -> float:
        """Product of the factors, 0-1."""
        return math.prod(self.factors.values())


def look(
    candidate: Candidate,
    classes: NDArray[np.uint8],
    grid: Grid,
    ground: NDArray[np.bool_],
    glaciers: NDArray[np.bool_] | None,
    *,
    onto: Grid,
    settings: FetchSettings,
) -> Seen:
    """Counts what an image shows of a place.

    Args:
        candidate: The image.
        classes: `(H, W)` of `products.classes`, on the ground of the place that the image's tile covers.
        grid: Where they lie; it may be coarse.
        ground: `(H, W)` True for the place.
        glaciers: `(H, W)` True for known glaciers; None without an inventory.
        onto: The common grid of all candidates of the place.
        settings: Of the fetch, for the last day that is asked for.
    """
    longitude, latitude = middle_of(grid)
    day = candidate.acquired.date()
    share = None if glaciers is None else float(glaciers[ground].mean()) if ground.any() else 0.0
    on, beside = ground, ground
    if glaciers is not None and share:
        on, beside = ground & glaciers, ground & ~glaciers
    no_data, cloud, _ = _shares(classes[on])
    _, cloud_beside, snow = _shares(classes[beside])
    clear = (classes != MISSING) & ~np.isin(classes, _CLOUDY)
    seen = area_on_grid(classes != MISSING, grid, onto)
    return Seen(
        candidate=candidate,
        glaciers=share,
        no_data=no_data,
        cloud=1.0 if cloud is None else cloud,
        cloud_beside=cloud_beside if share else None,
        snow=None if share and 1 - share < _LEAST_BESIDE else snow,
        sun_deg=sun_height_deg(candidate.acquired, longitude, latitude),
        off_season_days=_off_season_days(day, latitude),
        age_days=(settings.date[1] - day).days if settings.date else 0,
        cells=seen.astype(np.uint8) + area_on_grid(clear, grid, onto),
    )


def _shares(classes: NDArray[np.uint8]) -> tuple[float, float | None, float | None]:
    """Shares without data, of cloud among the rest, and of snow among what no cloud hides."""
    counts = np.bincount(classes, minlength=8)
    seen, cloudy = int(counts.sum() - counts[MISSING]), int(counts[list(_CLOUDY)].sum())
    clear = int(counts[SNOW] + counts[CLEAR])
    return (
        int(counts[MISSING]) / classes.size if classes.size else 1.0,
        cloudy / seen if seen else None,
        int(counts[SNOW]) / clear if clear else None,
    )


def _off_season_days(day: date, latitude: float) -> int:
    if abs(latitude) < _TROPIC_DEG:
        return 0
    end = date(day.year, *END_OF_SUMMER["north" if latitude > 0 else "south"])
    return max(days_apart_in_year(day, end) - SEASON_DAYS, 0)


def rate(seen: Sequence[Seen], settings: FetchSettings) -> tuple[Rating, ...]:
    """Rates images of a place, each by itself except for snow where no inventory shows what is ice.

    There the least share of snow that an image of its tile shows is taken for ice, since cloud hides ice too.

    Args:
        seen: What all candidates show; their order makes no difference.
        settings: The limits.

    Returns:
        As many ratings, in the same order. What a limit refuses is rated too.
    """
    ice: dict[str, float] = {}
    for one in seen:
        if (
            one.glaciers is None
            and one.snow is not None
            and (1 - one.no_data) * (1 - one.cloud) >= _LEAST_CLEAR
        ):
            ice[one.candidate.tile] = min(ice.get(one.candidate.tile, 1.0), one.snow)
    return tuple(_rate(one, ice.get(one.candidate.tile, 0.0), settings) for one in seen)


def _rate(seen: Seen, ice: float, settings: FetchSettings) -> Rating:
    light = math.sin(math.radians(seen.sun_deg)) / math.sin(math.radians(FULL_SUN_DEG))
    off_season = seen.off_season_days / (_HALF_YEAR - SEASON_DAYS)
    factors = {
        "data": 1 - seen.no_data,
        "cloud": 1 - seen.cloud,
        "snow": 1 - max((seen.snow or 0.0) - ice, 0.0),
        "sun": min(max(light, 0.0), 1.0),
        "season": 1 - SEASON_LOSS * min(off_season, 1.0),
        "age": (1 - LOSS_PER_YEAR) ** (max(seen.age_days, 0) / 365.25),
    }
    return Rating(factors, *_limits(seen, settings))


def _limits(seen: Seen, settings: FetchSettings) -> tuple[str | None, dict[str, float] | None]:
    """Returns which limits an image exceeds, and those that would allow it."""
    if seen.no_data >= 1:
        return f"shows nothing of the {'glaciers' if seen.glaciers else 'place'}", None
    if seen.sun_deg <= 0:
        return f"the sun stands {-seen.sun_deg:.0f} degrees below the horizon", None
    said, cure = [], {}
    on, beside = ("over the glaciers", "beside the glaciers") if seen.glaciers else ("of the place",) * 2
    if seen.cloud > settings.max_cloud:
        said.append(f"cloud {_exactly(seen.cloud)} {on}, more than --max-cloud {settings.max_cloud:g}")
        cure["max_cloud"] = _at_least(seen.cloud)
        if seen.cloud_beside is not None and seen.cloud - seen.cloud_beside > _LIKE_ICE:
            told = f"beside them {percent(seen.cloud_beside)}"
            said[-1] += f" ({told}, so it may be bright ice that is called cloud)"
    if seen.snow is not None and seen.snow > settings.max_snow:
        said.append(f"snow {_exactly(seen.snow)} {beside}, more than --max-snow {settings.max_snow:g}")
        cure["max_snow"] = _at_least(seen.snow)
    if seen.sun_deg < settings.min_sun_deg:
        sun, limit = math.floor(10 * seen.sun_deg) / 10, settings.min_sun_deg
        said.append(f"sun {sun:g} degrees, less than --min-sun-deg {limit:g}")
        cure["min_sun_deg"] = float(math.floor(seen.sun_deg))
    return ("; ".join(said), cure) if said else (None, None)


def in_words(seen: Seen) -> str:
    """Returns the numbers that count, such as `cloud 2 % over the glaciers, snow 9 % beside them`."""
    said = [f"cloud {percent(seen.cloud)} {'over the glaciers' if seen.glaciers else 'of the place'}"]
    if seen.snow is not None:
        said.append(f"snow {percent(seen.snow)}{' beside them' if seen.glaciers else ''}")
    said.append(f"sun {seen.sun_deg:.0f} degrees")
    if seen.no_data >= 0.005:
        said.append(f"no data on {percent(seen.no_data)}")
    return ", ".join(said)


def percent(share: float) -> str:
    """Returns a share in percent."""
    return f"{100 * share:.0f} %"


def _exactly(share: float) -> str:
    """Returns a share in percent, rounded up to a tenth, so that it is seen to be more than a limit."""
    return f"{math.ceil(round(1000 * share, 6)) / 10:g} %"


def _at_least(share: float) -> float:
    """Returns the least share of two decimals that is no less."""
    return math.ceil(round(100 * share, 9)) / 100
