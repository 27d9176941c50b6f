"""Commands that draw outlines and make an inventory of them."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from glacierseg import log

_log = logging.getLogger(__name__)


def add_outline_commands(app: typer.Typer) -> None:
    """Adds `vectorize` and `inventory` to the command line."""
    app.command()(vectorize)
    app.command()(inventory)


def vectorize(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="Where the outlines go; .gpkg (all layers), .shp, .geojson or .parquet."),
    ],
    refined: Annotated[
        Path | None, typer.Option(help="The refined mask: adds layers refined and refined_smooth.")
    ] = None,
    probability: Annotated[Path | None, typer.Option(help="The probability raster, for --contour.")] = None,
    contour: Annotated[
        bool, typer.Option("--contour", help="Add the sub-pixel contour of the probability.")
    ] = False,
    threshold: Annotated[float, typer.Option(help="Probability along the contour.")] = 0.5,
    layers: Annotated[
        str | None,
        typer.Option(help="Only these, with commas between: raw, smooth, refined, refined_smooth, contour."),
    ] = None,
    min_area_km2: Annotated[float, typer.Option(min=0, help="Smaller outlines are left out.")] = 0.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace also a GeoPackage that holds other layers.")
    ] = False,
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`, and others on request."""
    from glacierseg.vectors.polygons import draw_outlines  # noqa: PLC0415

    if layers is not None:
        wanted = [name.strip() for name in layers.split(",") if name.strip()]
    else:
        wanted = ["raw", "smooth", *(["refined", "refined_smooth"] if refined else [])]
    if contour and "contour" not in wanted:
        wanted.append("contour")
    totals = draw_outlines(
        mask,
        out,
        layers=wanted,
        refined_path=refined,
        probability_path=probability,
        min_area_km2=min_area_km2,
        threshold=threshold,
        overwrite=overwrite,
    )
    if probability is not None and "contour" not in wanted:
        _log.info("note: --probability was not used; it is for the layer contour, which --contour adds")
    for name, total in totals.items():
        _log.info(
            f"{out}: {name}: {total.outlines} outline{'s' * (total.outlines != 1)}, {total.area_km2:.3f} km2"
        )


def inventory(
    source: Annotated[Path, typer.Argument(help="A mask raster, or outlines in any format and CRS.")],
    out: Annotated[Path, typer.Option("--out", help="The GeoPackage to write.")],
    dem: Annotated[Path | None, typer.Option(help="Elevation in metres, of any CRS and resolution.")] = None,
    probability: Annotated[Path | None, typer.Option(help="Glacier probability, of any grid.")] = None,
    existing: Annotated[
        Path | None, typer.Option(help="Another inventory, to link to and to take divides from.")
    ] = None,
    existing_layer: Annotated[str | None, typer.Option(help="Its layer, of several.")] = None,
    existing_id: Annotated[
        str | None, typer.Option(help="Its column of ids; found by its name when left out.")
    ] = None,
    divides: Annotated[
        Literal["auto", "terrain", "existing", "none"],
        typer.Option(help="How ice bodies are divided; auto: as the other inventory, else along terrain."),
    ] = "auto",
    prefix: Annotated[str, typer.Option(help="What the ids of the glaciers begin with.")] = "",
    min_area_km2: Annotated[float, typer.Option(help="Smaller glaciers are left out.")] = 0.01,
    buffer_m: Annotated[
        float | None, typer.Option(help="Uncertainty of the boundary; half a pixel of a mask when left out.")
    ] = None,
    min_dem_share: Annotated[
        float, typer.Option(help="Terrain attributes need elevation for this share of a glacier.")
    ] = 0.95,
    layer: Annotated[str | None, typer.Option(help="Layer of outlines with several.")] = None,
    smooth: Annotated[
        bool, typer.Option("--smooth/--jagged", help="Smooth the outlines of a mask, and divides.")
    ] = True,
    smooth_dem_m: Annotated[float, typer.Option(help="Divides: smoothing of the elevation.")] = 60.0,
    surround_m: Annotated[
        float, typer.Option(help="Divides: how far around the ice water is followed.")
    ] = 300.0,
    join_share: Annotated[
        float, typer.Option(help="Divides: outlets nearer than this share of the root of their area are one.")
    ] = 0.5,
    sliver_km2: Annotated[float, typer.Option(help="Divides: smaller basins join a neighbour.")] = 0.1,
    thin_km2: Annotated[float, typer.Option(help="Divides: so do thin basins smaller than this.")] = 0.5,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace also a GeoPackage that holds other layers.")
    ] = False,
) -> None:
    """Divide ice bodies into glaciers and write their inventory: attributes, hypsometry, links."""
    from glacierseg.inventory.basins import BasinRules  # noqa: PLC0415
    from glacierseg.inventory.files import make_inventory  # noqa: PLC0415

    made = make_inventory(
        source,
        out,
        layer=layer,
        dem=dem,
        probability=probability,
        existing=existing,
        existing_layer=existing_layer,
        existing_id=existing_id,
        divides=divides,
        prefix=prefix,
        min_area_km2=min_area_km2,
        buffer_m=buffer_m,
        min_dem_share=min_dem_share,
        smooth=smooth,
        rules=BasinRules(
            smooth_m=smooth_dem_m,
            surround_m=surround_m,
            join_share=join_share,
            sliver_km2=sliver_km2,
            thin_km2=thin_km2,
        ),
        overwrite=overwrite,
    )
    table = made.glaciers
    for note in made.notes:
        _log.info(f"note: {note}")
    total = f"{table['area_km2'].sum():.3f}"
    if "uncertainty_km2" in table:
        total += f" +- {table['uncertainty_km2'].sum():.3f}"
    glaciers = "1 glacier" if len(table) == 1 else f"{len(table)} glaciers"
    bodies = "1 ice body" if made.bodies == 1 else f"{made.bodies} ice bodies"
    _log.info(f"{out}: {glaciers} from {bodies}, {total} km2")
    shown = [
        name
        for name in ("inv_id", "area_km2", "zmin_m", "zmax_m", "slope_deg", "aspect_dir", "divides")
        if name in table
    ]
    largest = table[shown].head(10).round({"area_km2": 3, "zmin_m": 0, "zmax_m": 0, "slope_deg": 1})
    rows = [
        [log.plain(None if value != value else value) for value in row]  # noqa: PLR0124  (NaN)
        for row in largest.astype(object).where(largest.notna(), None).itertuples(index=False)
    ]
    if rows:
        _log.info(log.table("the largest", shown, rows))
