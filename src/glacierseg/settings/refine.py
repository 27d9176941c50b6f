"""How masks are refined, and which values the search for that tries."""

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from glacierseg.choices import STEP_NAMES, Objective, Preset, Smoothing, StepName
from glacierseg.settings.base import Cli, Settings

PRESETS_KM2: dict[str, float] = {"regional": 0.03, "rgi": 0.01}
"""Smallest glacier of an inventory: Himalayan ones start at 0.02-0.03 km2, the Randolph one at 0.01 km2."""


REFINEMENT_TAG = "refinement"
"""Tag of a predicted mask with the parameters that the run of its network tuned, as JSON."""


def _as_given(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Keeps an integer one, so that files say 20 where 20 was asked for, and 20.0 where 20.0 was."""
    checked = check(value)
    return value if type(value) is int else checked


def _none_for_inf(value: Any) -> Any:
    """Lets inf stand for None: the command line and JSON each have only one of the two."""
    return None if value in (math.inf, "inf") else value


def _each_once(steps: tuple[StepName, ...]) -> tuple[StepName, ...]:
    if not steps:
        raise ValueError(f"is empty; give at least one step of {', '.join(STEP_NAMES)}")
    doubled = [step for step in steps if steps.count(step) > 1]
    if doubled:
        raise ValueError(f"{doubled[0]!r} is named twice; each step can be done once")
    return steps


FromZero = Annotated[float, Field(ge=0)]
AsGiven = Annotated[float, Field(ge=0), WrapValidator(_as_given)]
# What one refinement and a search have in common.
Steps = Annotated[
    tuple[StepName, ...],
    AfterValidator(_each_once),
    Field(description="Steps in their order."),
]
MaxHoleSlope = Annotated[
    float | None,
    Field(
        ge=0,
        le=90,
        description="Mean slope of a hole, in degrees, above which it stays as a nunatak.",
    ),
]
Connectivity = Annotated[
    Literal[4, 8],
    Field(description="Neighbours of a fragment's pixel: 8, or 4 as in outlines."),
]
KeepCut = Annotated[
    bool, Field(description="Keep small fragments that the scene border or missing data cuts.")
]


class RefineSettings(Settings):
    """How a mask is refined; with all numbers 0 it stays as it is."""

    panel: ClassVar[str | None] = "Refinement"

    min_area_km2: AsGiven = 0.03
    """Smallest fragment that stays, in km2."""
    merge_distance_m: AsGiven = 20.0
    """Widest gap that is bridged, in metres."""
    iterations: Annotated[int, Field(ge=0)] = 10
    """Smoothing passes."""
    smoothing: Smoothing = "majority"
    """Method of smoothing: majority, closing, opening, dilation or erosion."""
    max_hole_km2: Annotated[AsGiven | None, BeforeValidator(_none_for_inf)] = 0.03
    """Largest hole that is filled, in km2; inf for all."""
    max_hole_slope_deg: MaxHoleSlope = None
    connectivity: Connectivity = 8
    keep_cut_fragments: KeepCut = False
    steps: Steps = STEP_NAMES
    preset: Annotated[Preset | None, Field(exclude=True)] = None
    """Smallest fragment by name: regional (0.03 km2) or rgi (0.01 km2)."""

    @model_validator(mode="before")
    @classmethod
    def _preset_is_an_area(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        if not isinstance(preset, str) or preset not in PRESETS_KM2:
            return data
        if "min_area_km2" in data:
            raise ValueError("preset and min_area_km2 both set the smallest fragment; give one of them")
        return {**data, "preset": None, "min_area_km2": PRESETS_KM2[preset]}


class TuneSettings(Settings):
    """The values that the search tries on validation pixels; the best are used everywhere."""

    section: ClassVar[str | None] = "refinement"
    panel: ClassVar[str | None] = "Values to try"

    objective: Objective = "iou"
    """Score to maximise: iou, f1, or area (total area only)."""
    steps: Steps = STEP_NAMES
    merge_distances_m: Annotated[tuple[FromZero, ...], Cli("--merge-distance-m")] = (0, 10, 20, 30, 40)
    """Widest gaps that are bridged, in metres."""
    smoothing: tuple[Smoothing, ...] = ("majority",)
    """Methods of smoothing: majority, closing, opening, dilation or erosion."""
    iterations: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 3, 10)
    """Smoothing passes."""
    max_holes_km2: Annotated[
        tuple[Annotated[FromZero | None, BeforeValidator(_none_for_inf)], ...], Cli("--max-hole-km2")
    ] = (0, 0.03, 0.1)
    """Largest holes filled, in km2; inf for all."""
    max_hole_slope_deg: MaxHoleSlope = None
    preset: Preset | None = None
    """Smallest fragment, instead of several to try: regional (0.03 km2) or rgi (0.01 km2)."""
    min_areas_km2: Annotated[tuple[FromZero, ...], Cli("--min-area-km2")] = (0, 0.01, 0.03, 0.1)
    """Smallest fragments that stay, in km2."""
    connectivity: Connectivity = 8
    keep_cut_fragments: KeepCut = False

    @field_validator("smoothing", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("merge_distances_m", "min_areas_km2", "iterations", "max_holes_km2", "smoothing")
    @classmethod
    def _something_to_try(cls, value: Any) -> Any:
        if value == ():
            raise ValueError("is empty; give at least one value to try")
        return value

    @model_validator(mode="after")
    def _one_smallest_fragment(self) -> "TuneSettings":
        # A run's own config.yaml spells every default out, so these do not count as given.
        if self.preset and self.min_areas_km2 != type(self).model_fields["min_areas_km2"].default:
            raise ValueError("preset and min_areas_km2 both set the smallest fragment; give one of them")
        return self


class TuneInputs(Settings):
    """Files that a search uses besides the masks to tune on and their truth."""

    panel: ClassVar[str | None] = "Inputs"

    dem: tuple[Path, ...] = ()
    """Elevation of each mask, in metres; of test masks last."""
    test_mask: tuple[Path, ...] = ()
    """Mask of a test region, only scored."""
    test_truth: tuple[Path, ...] = ()
    """Truth of each test mask, in order."""
    truth_layer: tuple[str, ...] = ()
    """Layer of true outlines: one for all, or one for each, tests last."""
