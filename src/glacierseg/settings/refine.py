"""How masks are refined, and which values the search for that tries."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from glacierseg.choices import STEP_NAMES, Objective, Preset, Smoothing, StepName
from glacierseg.settings.base import Settings


class TuneSettings(Settings):
    """The values that the search tries on validation pixels; the best are used everywhere."""

    section: ClassVar[str | None] = "refinement"

    objective: Objective = "iou"
    """Score to maximise: iou, f1 (same order as iou) or area (total area only)."""
    steps: tuple[StepName, ...] = STEP_NAMES
    """Steps in their order; leave out what is not wanted."""
    merge_distances_m: tuple[Annotated[float, Field(ge=0)], ...] = (0, 10, 20, 30, 40)
    """Fragments with a smaller gap, in metres, are joined."""
    smoothing: Smoothing | tuple[Smoothing, ...] = "majority"
    """Majority, closing, opening, dilation or erosion; a list to try each."""
    iterations: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 3, 10)
    """Passes of smoothing."""
    max_holes_km2: tuple[Annotated[float, Field(ge=0)] | None, ...] = (0, 0.03, 0.1)
    """Smaller holes, in km2, are filled; null for every hole, nunataks too."""
    max_hole_slope_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    """Steeper holes, such as 40 degrees, are nunataks and stay; every region needs a dem."""
    preset: Preset | None = None
    """Smallest area by name: regional (0.03 km2) or rgi (0.01 km2), instead of min_areas_km2."""
    min_areas_km2: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.01, 0.03, 0.1)
    """Smaller fragments, in km2, are removed."""
    connectivity: Literal[4, 8] = 8
    """4: fragments that touch only at a corner are two, as in outlines."""
    keep_cut_fragments: bool = False
    """Keep what the scene border or missing data cuts, however small."""

    @field_validator(
        "merge_distances_m", "min_areas_km2", "iterations", "max_holes_km2", "smoothing", "steps"
    )
    @classmethod
    def _something_to_try(cls, value: Any, info: ValidationInfo) -> Any:
        if value == ():
            raise ValueError(
                f"is empty; give at least one {'step' if info.field_name == 'steps' else 'value to try'}"
            )
        return value

    @field_validator("steps")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        doubled = [step for step in value if value.count(step) > 1]
        if doubled:
            raise ValueError(f"{doubled[0]!r} is named twice; each step can be done once")
        return value
