"""The page of one map: the scene with its glaciers, a table of them, and where all of it comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from glacierseg._version import __version__
from glacierseg.evaluate.area_bounds import AreaBounds
from glacierseg.predict.calibration import GLACIER_CONFIDENCE
from glacierseg.raster.facts import days_in_words, facts_of_bands
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import IGNORE, mask_strips
from glacierseg.raster.write import write_text
from glacierseg.report.map import PAGE_BUDGET
from glacierseg.report.page import page_template, region_section
from glacierseg.report.style import DASH, area_text, count_text
from glacierseg.report.summary import Fact
from glacierseg.report.tables import Cell, ExtraTable, parameters_in_words
from glacierseg.report.views import view_region
from glacierseg.runs.layout import STAGES, MapFolder, RunFolder
from glacierseg.runs.results import ModelResult, RegionResult, RunResults
from glacierseg.runs.write import environment
from glacierseg.settings.refine import RefineSettings

_MOST_ROWS = 500
# Column of the inventory, heading, and whether it holds numbers.
_COLUMNS = (
    ("inv_id", "glacier", False),
    ("area_km2", "area, km²", True),
    ("uncertainty_km2", "± km²", True),
    ("area_lower_km2", "at least, km²", True),
    ("area_upper_km2", "at most, km²", True),
    ("observed_share", "observed share", True),
    ("probability_mean", "mean probability", True),
    ("zmin_m", "lowest, m", True),
    ("zmed_m", "median, m", True),
    ("zmax_m", "highest, m", True),
    ("slope_deg", "slope, °", True),
    ("aspect_dir", "aspect", False),
    ("lmax_m", "length, m", True),
    ("divides", "divides", False),
)


@dataclass(frozen=True)
class MapPage:
    """What the page of a map shows besides its glaciers.

    Attributes:
        folder: Of the map.
        name: Of the scene, which its files begin with.
        scene: The scene.
        model: What the networks are called.
        bands: Which of a run's sets of bands they saw, if so.
        networks: What is known of them, by label.
        refinement: How the mask was refined.
        sources: Of the map besides the scene, by what they are.
        catalogue: Where its products were found, by label; empty where they were given.
        bounds: Of the glacier area; None where there are none.
        notes: What a reader must see first, a line each.
    """

    folder: MapFolder
    name: str
    scene: Scene
    model: str
    bands: str
    networks: Mapping[str, str]
    refinement: RefineSettings
    sources: Mapping[str, Sequence[Path]]
    catalogue: Mapping[str, str]
    bounds: AreaBounds | None
    notes: Sequence[str]


def write_map_page(page: MapPage, glaciers: gpd.GeoDataFrame) -> Path:
    """Writes the page of a map; it holds its pictures within itself and needs no network.

    Args:
        page: What it shows.
        glaciers: The inventory.

    Returns:
        Its path.

    Raises:
        RasterError: A raster of the map is damaged.
        OutputError: The page cannot be written.
    """
    path = page.folder.page(page.name)
    results = _as_results(page)
    view = view_region(results, results.regions[0])
    assert view is not None  # noqa: S101  (the refined mask is there)
    variant = (page.model, page.bands, STAGES[1])
    text = page_template("mapped.html.j2").render(
        name=page.name,
        version=__version__,
        notices=page.notes,
        facts=_facts(page, glaciers),
        regions=[region_section(results, view, variant, PAGE_BUDGET, title="Map")],
        glaciers=_table(glaciers, page.folder.inventory(page.name).name),
        origin=list(_origin(page)),
    )
    write_text(path, text)
    return path


def _as_results(page: MapPage) -> RunResults:
    """Shows a map as a run of one region and one network, which the page's map knows how to draw."""
    scene = page.scene
    region = RegionResult(
        name=page.name,
        scene_paths=scene.paths,
        bands=scene.band_names,
        roles=(),
        pixel_size_m=scene.grid.pixel_size_m,
        crs=name_of_crs(scene.grid.crs),
        truth_path=Path(),
        roles_path=Path(),
    )
    model = ModelResult(page.model, page.bands, page.folder, {}, {}, (), {})
    return RunResults(RunFolder(page.folder.path), {}, "", {}, (), (region,), (model,), ())


def _facts(page: MapPage, glaciers: gpd.GeoDataFrame) -> Iterator[Fact]:
    count = len(glaciers)
    yield Fact(count_text(count), "glacier" if count == 1 else "glaciers")
    area = f"{area_text(float(glaciers['area_km2'].sum()))} km²"
    if "uncertainty_km2" in glaciers:
        area += f" ± {area_text(float(glaciers['uncertainty_km2'].sum()))}"
    yield Fact(area, "of all, ± the error of drawing outlines")
    if page.bounds:
        ends = f"{area_text(page.bounds.lower_km2)}–{area_text(page.bounds.upper_km2)} km²"
        yield Fact(ends, f"glacier area at {page.bounds.confidence:.0%} confidence, mapping errors included")
    if days := facts_of_bands(page.scene.bands).dates:
        yield Fact(days_in_words(days), "image")
    if (unseen := _unseen_share(page)) > 0:
        yield Fact(f"{unseen:.1%}", "of the scene without data")


def _unseen_share(page: MapPage) -> float:
    grid = page.scene.grid
    strips = mask_strips(page.folder.mask(page.name), grid, rows=512)
    missing = sum(int(np.count_nonzero(strip == IGNORE)) for strip in strips)
    return missing / (grid.height * grid.width)


def _table(glaciers: gpd.GeoDataFrame, source: str) -> ExtraTable:
    columns = [(name, title, number) for name, title, number in _COLUMNS if name in glaciers]
    rows = [
        [_cell(row[name], number=number) for name, _, number in columns]
        for row in glaciers.head(_MOST_ROWS).to_dict("records")
    ]
    hint = (
        f"From the largest down; all attributes are in {source}. A glacier with an observed share below 1 "
        "is partly without data: its area is that of the part seen."
    )
    if "area_lower_km2" in glaciers:
        hint += (
            f" At least and at most: area at {GLACIER_CONFIDENCE:.0%} confidence, mapping errors included."
        )
    titles = [(title, number) for _, title, number in columns]
    left_out = max(0, len(glaciers) - _MOST_ROWS)
    return ExtraTable("glaciers", f"{len(glaciers)} glaciers", hint, titles, rows, left_out)


def _cell(value: Any, *, number: bool) -> Cell:
    if pd.isna(value):
        return Cell(DASH)
    if not number:
        return Cell(str(value))
    return Cell(f"{value:,.0f}".replace(",", "\u2009") if abs(value) >= 100 else f"{value:.3g}", float(value))


def _origin(page: MapPage) -> Iterator[tuple[str, str]]:
    """Yields what is known of a map's origin, by label."""
    facts = facts_of_bands(page.scene.bands)
    yield "scene", ", ".join(str(path) for path in page.scene.paths)
    yield from (
        (label, text)
        for label, text in (
            ("products", ", ".join(facts.products)),
            ("image", days_in_words(facts.dates)),
            ("sensor", facts.sensor),
            ("processing baseline", facts.baseline),
            ("unit of reflected light", facts.unit),
            ("bands by recipe", facts.recipe),
            ("masked", ", ".join(facts.masked)),
        )
        if text
    )
    yield from page.catalogue.items()
    yield "network", page.model
    yield from page.networks.items()
    yield "refinement", parameters_in_words(page.refinement.model_dump())
    yield from ((label, ", ".join(map(str, paths))) for label, paths in page.sources.items() if paths)
    made = environment()
    yield "made with", f"glacierseg {made['glacierseg']}, {made['started']}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in made["packages"].items())
