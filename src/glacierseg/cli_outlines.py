"""The command that draws outlines."""

from pathlib import Path
from typing import Annotated

import typer


def add_outline_commands(app: typer.Typer) -> None:
    """Adds `vectorize` to the command line."""
    app.command()(vectorize)


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
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`, and others on request."""
    from glacierseg.console import Talk  # noqa: PLC0415
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
    )
    talk = Talk()
    for name, total in totals.items():
        talk.say(f"{out}: {name}: {total.outlines} outlines, {total.area_km2:.3f} km2")
