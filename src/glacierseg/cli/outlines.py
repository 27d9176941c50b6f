"""Commands that draw outlines and make an inventory of them."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.cli.options import with_settings
from glacierseg.settings.outlines import InventoryInputs, InventorySettings, VectorizeSettings

_log = logging.getLogger(__name__)

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a GeoPackage even if it holds other layers.")
]


def add_outline_commands(app: typer.Typer) -> None:
    """Adds `vectorize` and `inventory` to the command line."""
    app.command()(vectorize)
    app.command()(inventory)


@with_settings
def vectorize(
    mask: Annotated[Path, typer.Argument(help="Mask raster.")],
    out: Annotated[
        Path, typer.Option("--out", help="Vector file; .gpkg (all layers), .shp, .geojson or .parquet.")
    ],
    settings: VectorizeSettings,
    refined: Annotated[
        Path | None, typer.Option(help="Refined mask, for the layers refined and refined_smooth.")
    ] = None,
    probability: Annotated[
        Path | None, typer.Option(help="Probability raster, for the layer contour.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`, and others on request."""
    from glacierseg.vectors.polygons import draw_outlines

    totals = draw_outlines(
        mask, out, settings, refined_path=refined, probability_path=probability, overwrite=overwrite
    )
    if probability is not None and "contour" not in totals:
        _log.info("note: --probability was not used; it is for the layer contour, which --contour adds")
    for name, total in totals.items():
        _log.info(
            f"{out}: {name}: {total.outlines} outline{'s' * (total.outlines != 1)}, {total.area_km2:.3f} km2"
        )


@with_settings
def inventory(
    source: Annotated[Path, typer.Argument(help="Mask raster, or outlines in any format and CRS.")],
    out: Annotated[Path, typer.Option("--out", help="GeoPackage to write.")],
    settings: InventorySettings,
    inputs: InventoryInputs,
    overwrite: Overwrite = False,
) -> None:
    """Divide ice bodies into glaciers and write their inventory: attributes, hypsometry, links."""
    from glacierseg.inventory.files import make_inventory

    made = make_inventory(source, out, settings, inputs, overwrite=overwrite)
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
