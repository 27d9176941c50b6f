"""Scenes and regions of runs at screen size: images, truth, roles and predictions on one small grid."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from glacierseg.errors import BandError, GlaciersegError
from glacierseg.raster.facts import days_in_words
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.warp import read_grid
from glacierseg.report.furniture import north_degrees
from glacierseg.report.images import (
    Composite,
    Frame,
    Recipe,
    composite_recipes,
    frame_of,
    read_classes,
    read_composite,
    read_composites,
    read_greys,
)
from glacierseg.report.style import ROLES, sensor_label
from glacierseg.runs.layout import STAGES
from glacierseg.runs.results import RegionResult, RunResults

Variant = tuple[str, str, str]

FIGURE_SIDE_PX = 2000
"""On paper, 7 inches wide with 300 dots each."""
_IMAGES = ("natural", "false")
_MOST_BANDS = 24
_BANDS_SIDE_PX, _LEAST_SIDE_PX = 800, 200
# Of full size; more bands in all share the room of so many.
_MOST_PICTURES = 36


@dataclass(frozen=True)
class SceneView:
    """A scene at screen size; `(h, w)` is `frame.shape`.

    Attributes:
        title: What it shows, in words.
        grid: The full grid.
        frame: How the grid was decimated.
        scene: The scene, None when its files are gone.
        composites: Colour images.
    """

    title: str
    grid: Grid
    frame: Frame
    scene: Scene | None
    composites: tuple[Composite, ...]

    @property
    def shown(self) -> Grid:
        """The grid of the pixels as shown."""
        rows, columns = self.frame.shape
        step = Affine.scale(self.grid.width / columns, self.grid.height / rows)
        return Grid(self.grid.crs, self.grid.transform * step, rows, columns)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """Width and height of a pixel as shown."""
        width_m, height_m = self.grid.pixel_size_m
        rows, columns = self.frame.shape
        return width_m * self.grid.width / columns, height_m * self.grid.height / rows

    @property
    def north(self) -> float:
        """Direction of north in degrees clockwise from up."""
        return north_degrees(self.grid)


def view_scene(
    scene: Scene, bands: str | Sequence[str | int] | None = None, *, most_images: int = 2
) -> SceneView:
    """Reads a scene at the size of a figure on paper.

    Args:
        scene: The scene.
        bands: The only colour image to read: `natural`, `false`, or the names or 1-based numbers of one band
            (grey) or of three (red, green, blue); those that its bands make when None.
        most_images: How many of these at most.

    Raises:
        BandError: The scene has no such bands, or their number is neither one nor three.
        RasterError: The scene cannot be read.
    """
    facts, shown = scene.facts, scene
    recipes = composite_recipes(scene.band_names, facts.sensor or None)
    if isinstance(bands, str) and bands in _IMAGES and bands not in scene.band_names:
        recipes = tuple(recipe for recipe in recipes if recipe.key == bands)
        if not recipes:
            raise BandError(
                f"{scene.paths[0]}: its bands ({', '.join(scene.band_names)}) make no {bands} colour; name "
                "all bands in file order, or choose one band or three of these"
            )
    elif bands is not None:
        shown = scene.select([bands] if isinstance(bands, str) else bands)
        recipes = (_recipe_of(shown),)
    frame = frame_of(scene.grid, FIGURE_SIDE_PX)
    known = sensor_label(facts.sensor), days_in_words(facts.dates)
    words = [scene.name, *known, name_of_crs(scene.grid.crs)]
    composites = read_composites(shown, recipes[:most_images], frame)
    return SceneView(", ".join(word for word in words if word), scene.grid, frame, shown, composites)


def _recipe_of(scene: Scene) -> Recipe:
    """The image of one band in grey, or of three in colour."""
    names = scene.band_names
    if len(names) == 1:
        return Recipe("bands", f"Band {names[0]}", (0, 0, 0))
    if len(names) != 3:
        raise BandError(
            f"{scene.paths[0]}: a colour image takes one band or three, not {len(names)} ({', '.join(names)})"
        )
    return Recipe("bands", f"Bands {', '.join(names)}", (0, 1, 2))


@dataclass(frozen=True)
class RegionView(SceneView):
    """A region of a run at screen size; `(h, w)` is `frame.shape`.

    Attributes:
        region: What it shows.
        truth: `(h, w)` of 0, 1 and 255, None while missing.
        roles: `(h, w)` of 0 none, 1 train, 2 validate, 3 test, None while missing.
        predictions: By model, bands and stage: `(h, w)` of 0, 1 and 255.
        notes: What could not be shown, in sentences.
    """

    region: RegionResult
    truth: NDArray[np.uint8] | None
    roles: NDArray[np.uint8] | None
    predictions: Mapping[Variant, NDArray[np.uint8]]
    notes: tuple[str, ...]

    def role(self, name: str) -> NDArray[np.bool_] | None:
        """Returns where a role holds, None when the roles are not known or nothing has it."""
        if self.roles is None:
            return None
        mask: NDArray[np.bool_] = self.roles == 1 + ROLES.index(name)
        return mask if mask.any() else None


def view_region(results: RunResults, region: RegionResult) -> RegionView | None:
    """Reads a region at screen size.

    Args:
        results: The run.
        region: One of its regions.

    Returns:
        The view; None when the region has no raster at all yet.

    Raises:
        RasterError: A raster of the run folder is damaged.
    """
    masks = {
        (model.model, model.bands, stage): path
        for model in results.models
        for stage in STAGES
        if (path := model.folder.mask(region.name, stage)).is_file()
    }
    scene, notes = open_region(region)
    own = [path for path in (region.truth_path, region.roles_path, *masks.values()) if path.is_file()]
    if scene is None and not own:
        return None
    grid = read_grid(own[0]) if own else scene.grid if scene else None
    assert grid is not None  # noqa: S101  (one of the two exists)
    frame = frame_of(grid)
    composites: tuple[Composite, ...] = ()
    if scene is not None:
        try:
            composites = read_composites(scene, composite_recipes(scene.band_names), frame)
        except GlaciersegError as error:
            notes = (*notes, f"The scene cannot be shown: {error}.")
    return RegionView(
        title=f"{region.name}, {region.crs}",
        region=region,
        grid=grid,
        frame=frame,
        scene=scene,
        composites=composites,
        truth=read_classes(region.truth_path, frame) if region.truth_path.is_file() else None,
        roles=read_classes(region.roles_path, frame) if region.roles_path.is_file() else None,
        predictions={variant: read_classes(path, frame) for variant, path in masks.items()},
        notes=notes,
    )


def open_region(region: RegionResult) -> tuple[Scene | None, tuple[str, ...]]:
    """Opens the scene of a region; when that fails, says so in sentences."""
    missing = [path for path in region.scene_paths if not path.is_file()]
    if missing:
        return None, (f"The scene is no longer at {missing[0]}, so maps are drawn without its image.",)
    try:
        return open_scene(region.scene_paths, bands=region.bands), ()
    except GlaciersegError as error:
        return None, (f"The scene cannot be shown: {error}.",)


def read_bands(view: RegionView, regions: int = 1) -> list[tuple[str, NDArray[np.uint8]]]:
    """Reads the bands of a region in grey, coarser than its images when they are many.

    Args:
        view: The region at screen size.
        regions: How many share a page; their bands together take no more room than those of few.

    Returns:
        `(name, (h, w))` of the first 24 bands; empty when there are fewer than two, or no scene.
    """
    if view.scene is None or not view.composites or len(view.scene.bands) < 2:
        return []
    names = view.scene.band_names[:_MOST_BANDS]
    frame = view.frame
    if len(names) > 4:
        share = min(1.0, math.sqrt(_MOST_PICTURES / (len(names) * regions)))
        frame = frame_of(view.grid, max(round(_BANDS_SIDE_PX * share), _LEAST_SIDE_PX))
    try:
        return list(zip(names, read_greys(view.scene, range(len(names)), frame), strict=True))
    except GlaciersegError:
        return []  # the composites have already reported the fault


def read_image(view: SceneView, frame: Frame) -> NDArray[np.uint8]:
    """Reads a part of a region in colour, stretched like its map; grey where the scene cannot be read.

    False colour, where there is any: it shows debris-covered ice best.

    Args:
        view: The region at screen size.
        frame: The part.

    Returns:
        `(*frame.shape, 4)` red, green, blue and opacity.
    """
    if view.scene is not None and view.composites:
        composite = view.composites[-1]
        try:
            return read_composite(
                view.scene, composite.recipe, frame, composite.limits, composite.exponent
            ).pixels
        except GlaciersegError:
            pass
    return np.full((*frame.shape, 4), 235, np.uint8)
