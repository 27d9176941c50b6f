"""The command that draws outlines."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]


def add_outline_commands(app: typer.Typer) -> None:
    """Adds `vectorize` to the command line."""
    app.command()(vectorize)


def vectorize(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Out,
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.vectors.polygons import vectorize_mask  # noqa: PLC0415

    table = vectorize_mask(mask, out)
    Talk().say(f"{out}: {len(table)} outlines, {table['area_km2'].sum():.3f} km2")
