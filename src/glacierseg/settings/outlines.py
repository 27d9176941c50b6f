"""How outlines are drawn, divided into glaciers, and compared with those of another date."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from glacierseg.choices import Divides, OutlineLayer
from glacierseg.settings.base import RARE, Cli, Settings, model_or_weights, one_or_several

FromZero = Annotated[float, Field(ge=0)]


def is_year(text: str) -> bool:
    """Whether a text that `as_date` takes is a year alone."""
    return len(text) == 4


def as_date(text: str) -> date:
    """Returns the day of a text such as 2000-10-30; of a year alone, its 1 July.

    Raises:
        ValueError: It is no date.
    """
    try:
        return date(int(text), 7, 1) if is_year(text) else date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date; write 2000-10-30, or the year alone") from error


class VectorizeSettings(Settings):
    """Which outlines of a mask are drawn."""

    panel: ClassVar[str | None] = "Outlines"

    layers: tuple[OutlineLayer, ...] = ()
    """Layers to write, of raw, smooth, refined, refined_smooth and contour; without it, all but contour
    whose raster is given.
    """
    contour: bool = False
    """Also the layer contour, the sub-pixel outline of the probability."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability along the contour, 0-1."""
    min_area_km2: FromZero = 0.0
    """Smallest outline that is written, in km2."""


class InventorySettings(Settings):
    """How ice is divided into glaciers, and what is measured of them.

    The idea of each number for divides along the terrain is of Kienholz, Hock and Arendt (2013).
    """

    section: ClassVar[str | None] = "inventory"
    panel: ClassVar[str | None] = "Glaciers"

    divides: Annotated[Divides, Cli(metavar="<word>")] = "auto"
    """Origin of divides: terrain, existing (inventory), none, or auto for existing where it knows
    the ice, else terrain.
    """
    prefix: str = ""
    """Beginning of all ids; in a run the name of the region, when left out."""
    min_area_km2: FromZero = 0.01
    """Smallest glacier that is kept, in km2."""
    buffer_m: Annotated[float, Field(gt=0)] | None = None
    """Uncertainty of the outlines, in metres; half a pixel of a mask when left out."""
    min_dem_share: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Least share with elevation, 0-1, for terrain attributes."""
    smooth: Annotated[bool, RARE] = True
    """Smooth outlines of a mask and smooth divides."""
    smooth_dem_m: Annotated[FromZero, RARE] = 60.0
    """Terrain divides: standard deviation of the Gaussian that smooths the elevation, in metres."""
    surround_m: Annotated[FromZero, RARE] = 300.0
    """Terrain divides: distance from the ice, in metres, over which water is followed."""
    join_share: Annotated[FromZero, RARE] = 0.5
    """Terrain divides: distance of outlets that are one, as a share of the root of the larger one's area."""
    max_join_m: Annotated[FromZero, RARE] = 1500.0
    """Terrain divides: largest distance of outlets that are one, in metres."""
    sliver_km2: Annotated[FromZero, RARE] = 0.1
    """Terrain divides: area, in km2, below which a basin joins its neighbour."""
    thin_km2: Annotated[FromZero, RARE] = 0.5
    """Terrain divides: area, in km2, below which a thin basin joins its neighbour."""
    thin_compactness: Annotated[FromZero, RARE] = 0.2
    """Terrain divides: largest compactness of a thin basin, 0-1; that of a circle is 1."""
    min_parting_deg: Annotated[FromZero, RARE] = 18.0
    """Terrain divides: angle, in degrees, by which ice must flow apart along half of a divide."""


class InventoryInputs(Settings):
    """What an inventory is made from besides the mask or the outlines."""

    panel: ClassVar[str | None] = "Inputs"

    layer: str | None = None
    """Layer of the outlines."""
    dem: Annotated[tuple[Path, ...], BeforeValidator(one_or_several), Cli(metavar="PATH")] = ()
    """Elevation model, in metres or a unit that it names, on any grid; may be given again, for each of its
    tiles.
    """
    probability: Path | None = None
    """Glacier probability, on any grid."""
    model: Path | None = None
    """Model folder of the probability, for bounds of the areas."""
    weights: str | None = None
    """Weights of the probability by name, for the same."""
    existing: Path | None = None
    """Existing inventory, for links and divides."""
    existing_layer: str | None = None
    """Layer of the existing inventory."""
    existing_id: str | None = None
    """Column of ids in the existing inventory; found by the usual names when left out."""
    src_date: str | None = None
    """Date of the image, such as 2020-09-12 or 2020; that of the mask's file when left out."""

    @field_validator("src_date")
    @classmethod
    def _is_date(cls, value: str | None) -> str | None:
        if value is not None:
            as_date(value)
        return value

    @model_validator(mode="after")
    def _one_model(self) -> "InventoryInputs":
        _ = self.calibrated_by
        return self

    @property
    def calibrated_by(self) -> Path | None:
        """The model of the probability, a folder or `weights:NAME`."""
        return model_or_weights(self.model, self.weights, "model and weights")


class ChangeSettings(Settings):
    """How two dates are compared."""

    panel: ClassVar[str | None] = "Comparison"

    old_date: str | None = None
    """Earlier date, such as 2000-10-30 or 2000; that of the file when left out."""
    new_date: str | None = None
    """Later date, for rates per year; that of the file when left out."""
    old_error_m: FromZero | None = None
    """Uncertainty of the old outlines, in metres; half a pixel of a mask, else 10 when left out."""
    new_error_m: FromZero | None = None
    """Uncertainty of the new outlines, in metres."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Confidence level of the area bounds, 0-1."""

    @field_validator("old_date", "new_date")
    @classmethod
    def _is_date(cls, value: str | None) -> str | None:
        if value is not None:
            as_date(value)
        return value

    @model_validator(mode="after")
    def _dates_follow(self) -> "ChangeSettings":
        if self.years is not None and self.years <= 0:
            raise ValueError(
                f"the new date must be after the old one (got {self.old_date} and {self.new_date}); swap the "
                "two inventories"
            )
        return self

    @property
    def years(self) -> float | None:
        """Years between the dates; None without dates."""
        if self.old_date is None or self.new_date is None:
            return None
        return (as_date(self.new_date) - as_date(self.old_date)).days / 365.25


class ChangeInputs(Settings):
    """What a comparison of two dates uses besides the masks or outlines."""

    panel: ClassVar[str | None] = "Inputs"

    old_layer: str | None = None
    """Layer of the old outlines."""
    new_layer: str | None = None
    """Layer of the new outlines."""
    centre_lines: Path | None = None
    """Centre lines from head to terminus, for the terminus shift."""
    centre_lines_layer: str | None = None
    """Layer of the centre lines."""
    dem: Path | None = None
    """Elevation model, for the terminus shift without a centre line."""
    old_probability: Path | None = None
    """Probability raster of the old date, for area bounds."""
    new_probability: Path | None = None
    """New probability raster, same grid."""
    old_model: Path | None = None
    """Model folder of the old probabilities."""
    old_weights: str | None = None
    """Weights by name, of the old probabilities."""
    new_model: Path | None = None
    """Model folder of the new ones, if another."""
    new_weights: str | None = None
    """Weights by name of the new ones, if others."""

    @model_validator(mode="after")
    def _one_model_for_a_date(self) -> "ChangeInputs":
        _ = self.model_of_old, self.model_of_new
        return self

    @property
    def model_of_old(self) -> Path | None:
        """The model of the old probabilities, a folder or `weights:NAME`."""
        return model_or_weights(self.old_model, self.old_weights, "old_model and old_weights")

    @property
    def model_of_new(self) -> Path | None:
        """The model of the new probabilities, where it is not that of the old ones."""
        return model_or_weights(self.new_model, self.new_weights, "new_model and new_weights")
