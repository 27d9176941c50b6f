"""What refinement can be told: its steps, their order and their parameters."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from glacierseg.choices import STEP_NAMES, Smoothing, StepName, require_choice
from glacierseg.errors import DataError, RequestError, did_you_mean
from glacierseg.raster.write import read_json

PRESETS_KM2: dict[str, float] = {"regional": 0.03, "rgi": 0.01}
"""Smallest glacier of an inventory: Himalayan ones start at 0.02-0.03 km2, the Randolph one at 0.01 km2."""


@dataclass(frozen=True)
class RefineParameters:
    """Parameters of the refinement steps; with all numbers 0 a mask stays as it is.

    Attributes:
        min_area_km2: Smaller fragments are removed. Glacier inventories of the region start at 0.02-0.03 km2.
        merge_distance_m: Fragments that face each other over a gap of at most this are joined.
        iterations: Passes of smoothing.
        smoothing: `majority`, `closing`, `opening`, `dilation` or `erosion`, see
            `glacierseg.refine.steps.smooth`.
        max_hole_km2: Holes up to this size are filled, every hole when None. The default fills what is too
            small to be a glacier's size too, and leaves larger ones, which may well be nunataks.
        max_hole_slope_deg: Holes of a steeper mean slope stay whatever their size; None does not look at
            the slope. It needs the slope of the ground.
        connectivity: Whether fragments that touch at a corner only are one when small ones are removed (8)
            or not (4). Outlines are 4-connected, so with 4 none of them is smaller than the minimum.
        keep_cut_fragments: Whether fragments that reach the scene border or an ignored pixel stay whatever
            their size, because nobody knows how large they are beyond.
        steps: Which steps are done, in their order.

    Raises:
        RequestError: A number is out of its range, or there is no such smoothing or step.
    """

    min_area_km2: float = 0.03
    merge_distance_m: float = 20.0
    iterations: int = 10
    smoothing: Smoothing = "majority"
    max_hole_km2: float | None = 0.03
    max_hole_slope_deg: float | None = None
    connectivity: int = 8
    keep_cut_fragments: bool = False
    steps: tuple[StepName, ...] = STEP_NAMES

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("smoothing", "steps") or (value is None and field.name.startswith("max_hole_")):
                continue
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise RequestError(f"refinement: {field.name} must be a number from 0 on, not {value}")
        require_choice("smoothing", self.smoothing, get_args(Smoothing))
        if self.connectivity not in (4, 8):
            raise RequestError(f"refinement: connectivity must be 4 or 8, not {self.connectivity}")
        object.__setattr__(self, "steps", tuple(self.steps))
        refuse_unknown_steps(self.steps)


def refuse_unknown_steps(steps: tuple[str, ...]) -> None:
    """Raises RequestError when a step does not exist, is named twice, or none is named."""
    if not steps:
        raise RequestError(f"refinement: steps is empty; name at least one of {', '.join(STEP_NAMES)}")
    for number, step in enumerate(steps):
        if step not in STEP_NAMES:
            raise RequestError(
                f"refinement: no step is called {step!r}{did_you_mean(step, STEP_NAMES)}; "
                f"choose from {', '.join(STEP_NAMES)}"
            )
        if step in steps[:number]:
            raise RequestError(f"refinement: step {step!r} is named twice; each can be done once")


def preset_area_km2(preset: str) -> float:
    """Returns the minimum area of a preset.

    Raises:
        RequestError: There is no such preset.
    """
    require_choice("preset", preset, PRESETS_KM2)
    return PRESETS_KM2[preset]


def load_parameters(path: Path) -> RefineParameters:
    """Reads parameters from a file of `glacierseg tune`, or a run's `refinement.json`.

    Args:
        path: A JSON file with the key `best`.

    Raises:
        DataError: The file is missing, damaged, or holds no such parameters.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give one that `glacierseg tune` wrote")
    try:
        record: Any = read_json(path)
    except DataError as error:
        raise DataError(f"{path}: is not JSON; give a file that `glacierseg tune` wrote") from error
    best = record.get("best") if isinstance(record, dict) else None
    if not isinstance(best, dict):
        raise DataError(f"{path}: holds no refinement parameters; give a file that `glacierseg tune` wrote")
    known = {field.name for field in fields(RefineParameters)}
    if strange := sorted(set(best) - known):
        raise DataError(
            f"{path}: unknown refinement parameter {strange[0]!r}{did_you_mean(strange[0], known)}"
        )
    try:
        return RefineParameters(**best)
    except (RequestError, TypeError) as error:
        raise DataError(f"{path}: {error}; give a file that `glacierseg tune` wrote") from error
