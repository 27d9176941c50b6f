"""From a mask or outlines to the file of an inventory."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from glacierseg._version import __version__
from glacierseg.errors import RequestError
from glacierseg.inventory.attributes import (
    add_area_bounds,
    add_date,
    add_probability,
    add_relief,
    add_uncertainty,
    inventory_ids,
    link_table,
    utm_zones,
)
from glacierseg.inventory.divides import Divider
from glacierseg.inventory.sources import (
    LAYERS,
    Ice,
    LocalRaster,
    open_local,
    open_local_probability,
    open_local_tiles,
    read_ice,
)
from glacierseg.predict.calibrated import calibration_for_bounds
from glacierseg.predict.calibration import GLACIER_CONFIDENCE, Calibration
from glacierseg.raster.bounds import wrap_towards
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import OUTLINE_ID, read_shapes
from glacierseg.raster.outputs import require_output, writes
from glacierseg.raster.write import atomic_path
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.outlines import InventoryInputs, InventorySettings
from glacierseg.vectors.layers import add_layer, outline_table, style_geopackage

_TABLES = ("glaciers", "hypsometry", "links")
# Lattice for outlines. Their terrain is divided on pixels like those of the elevation model, up to a limit.
_PIXEL_M = 10.0
_LARGEST_PIXEL_M = 30.0


@dataclass(frozen=True)
class Inventory:
    """An inventory that was written.

    Attributes:
        path: The GeoPackage.
        glaciers: Layer `glaciers`, from the largest down.
        hypsometry: Table `hypsometry`; None without elevation model.
        links: Table `links`; None without another inventory.
        bodies: How many ice bodies the glaciers were cut from.
        notes: What a user should know, one line each.
    """

    path: Path
    glaciers: gpd.GeoDataFrame
    hypsometry: pd.DataFrame | None
    links: pd.DataFrame | None
    bodies: int
    notes: tuple[str, ...]


@fields_as_keywords(settings=InventorySettings, inputs=InventoryInputs)
@writes(out_path=())
def make_inventory(
    source: Path | str,
    out_path: Path | str,
    settings: InventorySettings | None = None,
    inputs: InventoryInputs | None = None,
    *,
    calibration: Calibration | None = None,
    overwrite: bool = False,
) -> Inventory:
    """Makes an inventory of a mask or of outlines: divides ice bodies and measures every glacier.

    Under `divides` auto, outlines that share a border with others, and those of several parts with one id,
    are glaciers already and stay as they are.

    Args:
        source: A mask raster, or outlines in any format and CRS; of a file with several layers, unless
            `inputs` says which, the best of what `vectorize` writes.
        out_path: A GeoPackage: layer `glaciers` in the CRS of the source, and the tables `hypsometry` (with
            an elevation model) and `links` (with another inventory). Columns: `docs/inventory.md`.
        settings: How to divide and measure; the defaults when None. Its fields may be given as keywords.
        inputs: What else it is made from; nothing when None. Its fields may be given as keywords.
        calibration: Of the probabilities, for bounds of the areas; that of the model of `inputs` when None.
        overwrite: Replace also a GeoPackage that holds other layers than those of an inventory.

    Raises:
        RequestError: An option is out of its bounds, or what it needs was not given.
        RasterError: A raster cannot be read.
        TruthError: The mask or the outlines cannot be used.
        OutputError: The file cannot be written.
    """
    source, out_path = Path(source), Path(out_path)
    settings, inputs = settings or InventorySettings(), inputs or InventoryInputs()
    _refuse(out_path, settings, inputs)
    if inputs.probability and inputs.calibrated_by:
        calibration = calibration_for_bounds(inputs.probability, inputs.calibrated_by)
    replaceable = None if overwrite else _TABLES
    require_output(out_path, tables=replaceable)
    notes: list[str] = []
    with ExitStack() as stack:
        probability = (
            stack.enter_context(open_local_probability(inputs.probability)) if inputs.probability else None
        )
        ice = read_ice(source, layer=inputs.layer, smooth=settings.smooth, pixel_m=_PIXEL_M)
        elevation = _open_dem(stack, inputs.dem, ice.lattice)
        theirs = _read_existing(inputs.existing, inputs, ice) if inputs.existing else None
        divider = Divider(
            ice.lattice,
            elevation if settings.divides in {"auto", "terrain"} else None,
            theirs if settings.divides in {"auto", "existing"} else None,
            settings,
            terrain_px=_terrain_px(ice, elevation),
        )
        polygons, origins, bodies = _divide(ice, divider, notes)
        glaciers, about_date = add_date(
            _table(polygons, origins, ice.crs, settings), source, ice.facts.dates, inputs.src_date
        )
        notes += about_date
        glaciers["at_rim"] = ice.at_rim(glaciers.geometry.to_numpy())
        glaciers["observed_share"] = ice.observed_shares(glaciers.geometry.to_numpy())
        notes += _about_unseen(glaciers, source)
        if len(glaciers) == 0:
            notes.append(
                f"{source}: no glacier has {settings.min_area_km2:g} km2 or more; the inventory is empty"
            )
        buffer_m = ice.half_pixel_m if settings.buffer_m is None else settings.buffer_m
        if buffer_m is None:
            notes.append("area uncertainty is left out, since outlines have no pixel size; give --buffer-m")
        elif len(glaciers):
            glaciers = add_uncertainty(glaciers, buffer_m)
        if probability is not None:
            glaciers = _add_probability(glaciers, probability, calibration, notes)
        hypsometry = links = None
        if elevation is not None:
            glaciers, hypsometry = add_relief(glaciers, elevation, least_share=settings.min_dem_share)
            notes += _about_coverage(glaciers, elevation, settings.min_dem_share)
        if theirs is not None:
            links = link_table(glaciers, theirs, "_their_id")
            if links.empty and len(glaciers):
                notes.append(
                    f"{inputs.existing}: no glacier of it meets ours; check that both are of the same place"
                )
    facts = {
        "made_with": f"glacierseg {__version__}",
        "source": source.name,
        "divides": settings.divides,
        "divides_used": ", ".join(sorted(set(origins))),
        "elevation_model": ", ".join(path.name for path in inputs.dem),
        "existing_inventory": inputs.existing.name if inputs.existing else "",
        "least_elevation_coverage": f"{settings.min_dem_share:g}",
        "area_bounds_confidence": f"{GLACIER_CONFIDENCE:g}" if "area_lower_km2" in glaciers else "",
        "uncertainty_buffer_m": "" if buffer_m is None else f"{buffer_m:g}",
        "min_area_km2": f"{settings.min_area_km2:g}",
        **ice.facts.tags,
    }
    _write(out_path, glaciers, {"hypsometry": hypsometry, "links": links}, facts, replaceable)
    return Inventory(out_path, glaciers, hypsometry, links, bodies, tuple(notes))


def _add_probability(
    glaciers: gpd.GeoDataFrame, probability: LocalRaster, calibration: Calibration | None, notes: list[str]
) -> gpd.GeoDataFrame:
    glaciers = add_probability(glaciers, probability)
    if calibration is None:
        return glaciers
    if not calibration.glaciers:
        notes.append(calibration.without_glaciers)
        return glaciers
    return add_area_bounds(glaciers, probability, calibration)


def _open_dem(stack: ExitStack, paths: Sequence[Path], lattice: Grid) -> LocalRaster | None:
    if len(paths) < 2:
        return stack.enter_context(open_local(paths[0])) if paths else None
    return stack.enter_context(open_local_tiles(paths, lattice))


def _refuse(out_path: Path, settings: InventorySettings, inputs: InventoryInputs) -> None:
    if out_path.suffix.lower() != ".gpkg":
        raise RequestError(f"{out_path}: an inventory has several tables; end the name in .gpkg")
    if settings.divides == "terrain" and not inputs.dem:
        raise RequestError("divides along the terrain need an elevation model; give --dem FILE")
    if settings.divides == "existing" and inputs.existing is None:
        raise RequestError("divides of an existing inventory need that inventory; give --existing FILE")
    if inputs.calibrated_by and not inputs.probability:
        raise RequestError("bounds of areas need the probabilities of the network; give --probability FILE")


def _read_existing(path: Path, inputs: InventoryInputs, ice: Ice) -> gpd.GeoDataFrame:
    table = read_shapes(
        path,
        layer=inputs.existing_layer,
        option="--existing-layer",
        prefer=LAYERS,
        id_column=inputs.existing_id,
    )
    ids = table[OUTLINE_ID].to_numpy()
    kept = gpd.GeoDataFrame({"_their_id": ids}, geometry=table.geometry.to_numpy(), crs=table.crs)
    kept = kept.to_crs(ice.crs)
    shapes = kept.geometry.to_numpy()
    if ice.half_pixel_m:
        # A mask in degrees may be written beyond 180 of them.
        shapes = wrap_towards(shapes, ice.lattice)
    kept = kept.set_geometry(gpd.GeoSeries(shapely.make_valid(shapes), crs=ice.crs))
    # Far away from a projection's home coordinates may become infinite.
    return kept[np.isfinite(kept.bounds).all(axis=1)].reset_index(drop=True)


def _divide(ice: Ice, divider: Divider, notes: list[str]) -> tuple[NDArray[Any], list[str], int]:
    """Pieces in the CRS of the ice, the origin of their divides, and the number of bodies."""
    divides = divider.settings.divides
    polygons = ice.polygons
    working = CRS.from_wkt(ice.lattice.crs.to_wkt())
    theirs = divider.existing.to_crs(working) if divider.existing is not None else None
    known = np.zeros(len(polygons), bool)
    if ice.half_pixel_m is None and divides != "none":
        known = _are_divided(polygons) | ice.divided
        if divides != "auto":
            polygons = shapely.get_parts(shapely.union_all(polygons))
            known = np.zeros(len(polygons), bool)
        elif known.any():
            notes.append(
                f"kept as glaciers: {known.sum()} of {len(polygons)} outlines, with ids of an inventory, "
                "several parts or a border with others; give --divides terrain or existing to divide them"
            )
    whole, kept = polygons[~known], polygons[known]
    origins = ["none"] * len(whole)
    if divides != "none" and (divider.elevation is not None or theirs is not None) and len(whole):
        moved = gpd.GeoSeries(whole, crs=ice.crs).to_crs(working).to_numpy()
        pieces, origins = replace(divider, existing=theirs).divide(moved)
        whole = gpd.GeoSeries(pieces, crs=working).to_crs(ice.crs).to_numpy()
    return np.concatenate([whole, kept]), [*origins, *["kept"] * len(kept)], len(polygons)


def _are_divided(outlines: NDArray[Any]) -> NDArray[np.bool_]:
    """Says which outlines are one glacier of several parts, or share more than points with another one."""
    found: NDArray[np.bool_] = shapely.get_num_geometries(outlines) > 1
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    one, other = one[one < other], other[one < other]
    common = shapely.length(shapely.intersection(outlines[one], outlines[other]))
    found[np.concatenate([one[common > 0], other[common > 0]])] = True
    return found


def _terrain_px(ice: Ice, elevation: LocalRaster | None) -> int:
    """For outlines, whose lattice is ours, one much finer than the terrain would only cost time."""
    if elevation is None or ice.half_pixel_m is not None:
        return 1
    return round(min(max(min(elevation.grid.pixel_size_m), _PIXEL_M), _LARGEST_PIXEL_M) / _PIXEL_M)


def _table(
    polygons: NDArray[Any], origins: list[str], crs: CRS, settings: InventorySettings
) -> gpd.GeoDataFrame:
    table = outline_table(polygons, crs, 0.0).drop(columns="glacier_id")
    table["divides"] = np.array(origins, dtype=object)
    table = table[table["area_km2"] >= settings.min_area_km2]
    # By area, and glaciers of equal area by place, whatever the order in which they were found.
    table = table.sort_values(["area_km2", "cenlon", "cenlat"], ascending=[False, True, True])
    table = table.reset_index(drop=True)
    lon, lat = table["cenlon"].to_numpy(), table["cenlat"].to_numpy()
    table.insert(0, "inv_id", inventory_ids(lon, lat, settings.prefix))
    table.insert(4, "utm_zone", utm_zones(lon, lat))
    return table


def _about_unseen(glaciers: gpd.GeoDataFrame, source: Path) -> list[str]:
    notes = []
    if number := int(glaciers["at_rim"].sum()):
        reach = "1 glacier reaches" if number == 1 else f"{number} glaciers reach"
        notes.append(f"{reach} the rim of {source} and may go on beyond it (`at_rim`)")
    if number := int((glaciers["observed_share"] < 1).sum()):
        are = "1 glacier is" if number == 1 else f"{number} glaciers are"
        notes.append(
            f"{are} partly without data in {source} (`observed_share` below 1): area and uncertainty are "
            "those of the part that it shows"
        )
    return notes


def _about_coverage(glaciers: gpd.GeoDataFrame, elevation: LocalRaster, least: float) -> list[str]:
    shares = glaciers["dem_share"]
    notes = []
    if partly := int(((shares < 1) & (shares >= least)).sum()):
        notes.append(
            f"{elevation.path}: has no elevation for a part of {partly} of {len(glaciers)} glaciers "
            "(`dem_share`)"
        )
    lacking = int((shares < least).sum())
    if not lacking:
        return notes
    note = (
        f"{elevation.path}: covers less than {least:.0%} of {lacking} of {len(glaciers)} glaciers "
        f"({int((shares == 0).sum())} not at all); their terrain attributes are empty"
    )
    along_terrain = glaciers["divides"] == "terrain"
    unknown_km2 = float((glaciers["area_km2"] * (1 - shares))[along_terrain].sum())
    if unknown_km2 > 0:
        note += f", and {unknown_km2:.3g} km2 of divided ice bodies, without elevation, could not be divided"
    return [*notes, note]


def _write(
    path: Path,
    glaciers: gpd.GeoDataFrame,
    tables: dict[str, pd.DataFrame | None],
    facts: dict[str, str],
    replaceable: Collection[str] | None,
) -> None:
    with atomic_path(path, tables=replaceable) as part:
        several = bool((shapely.get_num_geometries(glaciers.geometry.to_numpy()) > 1).any())
        add_layer(
            part, "glaciers", glaciers, dataset_metadata=facts, layer_metadata=facts,
            geometry_type="MultiPolygon" if several else "Polygon", promote_to_multi=several,
        )  # fmt: skip
        for name, table in tables.items():
            if table is not None:
                add_layer(part, name, table)
        style_geopackage(part, {"glaciers": "inv_id"})
