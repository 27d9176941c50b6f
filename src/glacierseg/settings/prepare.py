"""How rasters are prepared: stacked, normalized, and made of outlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glacierseg.choices import Cloudy, Resampling
from glacierseg.settings.base import Cli, Settings, one_or_several

Compress = Annotated[bool, Cli(name="--compress/--uncompressed")]


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("must not be 0, which would make all pixels alike (got 0)")
    return value


Factor = Annotated[float, AfterValidator(_not_zero)]
"""What reflected light is multiplied with."""


def recipe_as_text(recipe: str | Sequence[str] | None) -> str | None:
    """Returns a recipe that may be a sequence of band names as one text.

    Of a single name the comma behind it says that it is a band and not a recipe's name.
    """
    return recipe if recipe is None or isinstance(recipe, str) else "".join(f"{name}," for name in recipe)


class StackSettings(Settings):
    """How rasters are stacked, and which bands are made from them."""

    panel: ClassVar[str | None] = "Bands"

    recipe: Annotated[str | None, BeforeValidator(recipe_as_text)] = None
    """Bands to write: sentinel2-18, landsat-18, himalaya-18, or names of bands, indices, terrain and given
    layers, separated by commas; without it the input bands, and terrain if there is an elevation model.
    """
    sensor: str | None = None
    """Sensor whose band numbers (B2) are meant: sentinel2, landsat5, landsat7, landsat8 or landsat9; without
    it the one that file names show.
    """
    band_names: tuple[str, ...] | None = None
    """Names of all input bands in file order, separated by commas, instead of those in the files."""
    pixel_size_m: Annotated[float, Field(gt=0)] | None = None
    """Side of the pixels, in metres, of a grid in the UTM zone of the first file."""
    resampling: Resampling = "bilinear"
    """Interpolation: nearest, bilinear, cubic, average or mode."""
    scale: Factor | None = None
    """Factor for the recipe's bands of reflected light, before the offset."""
    offset: float | None = None
    """Number added to the recipe's bands of reflected light after the scale; 0 if the values are right."""
    nodata: Annotated[float | None, Field(allow_inf_nan=True)] = None
    """Value of pixels without data where the files declare none; 0 for products of Sentinel-2 and Landsat."""
    compress: Compress = True
    """Deflate compression; uncompressed files are larger and faster to read."""


class ProductSettings(Settings):
    """How products of agencies become a scene."""

    panel: ClassVar[str | None] = "Scene"

    recipe: Annotated[str | None, BeforeValidator(recipe_as_text)] = None
    """Bands to write: a recipe, or names of bands, indices, terrain and given layers, separated by commas;
    without it sentinel2-18 or landsat-18, whichever is the sensor's.
    """
    pixel_size_m: Annotated[float, Field(gt=0)] | None = None
    """Side of the pixels, in metres; without it that of the finest band."""
    max_days_apart: Annotated[int, Field(ge=0)] = 0
    """Greatest number of days between the images of one scene."""
    mask: Annotated[bool, Cli(name="--mask/--no-mask")] = True
    """Cloud, cirrus and cloud shadow as no data."""
    keep: Annotated[tuple[Cloudy, ...], BeforeValidator(one_or_several)] = ()
    """Classes not to mask: cloud, cirrus or shadow, separated by commas."""
    grow_m: Annotated[float, Field(ge=0)] = 0.0
    """Distance, in metres, by which masked ground grows."""
    mask_saturated: bool = False
    """Saturated pixels as no data too."""
    write_classes: bool = False
    """Raster of the classes beside the scene, `<scene>_classes.tif`."""
    write_dates: bool = False
    """Raster of each pixel's day as YYYYMMDD beside the scene, `<scene>_dates.tif`."""
    compress: Compress = True
    """Deflate compression; uncompressed files are larger and faster to read."""


class ProductInputs(Settings):
    """What a scene is made from besides products."""

    panel: ClassVar[str | None] = "Inputs"

    dem: Annotated[tuple[Path, ...], BeforeValidator(one_or_several), Cli(metavar="PATH")] = ()
    """Elevation model, in metres or a unit that it names; may be given again for further tiles."""
    clip: Path | None = None
    """Outlines that the scene is cut to, such as a basin."""
    clip_layer: str | None = None
    """Layer of the outlines of --clip."""
    existing: Path | None = None
    """Outlines of known glaciers, for the shares of snow outside and of cloud inside of them."""
    existing_layer: str | None = None
    """Layer of the outlines of --existing."""
    mask_file: Path | None = None
    """Further ground to mask: a raster of 0 and 1 on any grid, or outlines."""
    mask_layer: str | None = None
    """Layer of the outlines of --mask-file."""
    like: Path | None = None
    """Raster on the wanted grid; without it the grid of the finest band, in the UTM zone of most ground."""


class NormalizeSettings(Settings):
    """How the ranges of bands are measured and scenes brought to 8-bit levels."""

    panel: ClassVar[str | None] = "Ranges"

    percentiles: Annotated[tuple[float, float], Cli(metavar="LOW HIGH")] = (0.5, 99.5)
    """Percentiles that become the darkest and the brightest level, 0-100."""
    physical: bool = False
    """Ranges by definition where bands have one (index -1 to 1, slope 0 to 90 degrees), not percentiles."""
    compress: Compress = True
    """Deflate compression; uncompressed files are larger and faster to read."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(
                f"percentiles {low:g} and {high:g} are not in order; "
                "give two numbers from 0 to 100, the lower one first"
            )
        return self


class RasterizeSettings(Settings):
    """How outlines become a mask."""

    layer: str | None = None
    """Layer of a vector file with several."""
    all_touched: bool = False
    """Count every pixel that an outline touches, not only those whose centre lies inside."""
    min_area_km2: Annotated[float, Field(ge=0)] = 0.0
    """Area on the ellipsoid, in km2, below which outlines are left out, ground beyond the scene included."""
    ignore_rim_m: Annotated[float, Field(ge=0)] = 0.0
    """Distance from the boundary, in metres, within which pixels are ignored, on either side; the line
    between two glaciers that touch is no boundary.
    """
    compress: Compress = True
    """Deflate compression; uncompressed files are larger and faster to read."""
