"""The commands that look at data and prepare them."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.choices import Resampling
from glacierseg.cli.options import with_settings
from glacierseg.cli.output import show
from glacierseg.settings.prepare import (
    NormalizeSettings,
    ProductInputs,
    ProductSettings,
    RasterizeSettings,
    StackSettings,
)

_log = logging.getLogger(__name__)

Out = Annotated[Path, typer.Option("--out", help="GeoTIFF to write.")]
Like = Annotated[Path, typer.Option(help="Raster on the wanted grid.")]
BandNames = Annotated[
    str | None, typer.Option(help="Names of all input bands in file order, separated by commas.")
]
Compress = Annotated[
    bool, typer.Option("--compress/--uncompressed", help="Uncompressed files are larger and faster to read.")
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE",
        help="Band of a recipe in a file of its own, on any grid (velocity=v.tif); may be given again.",
    ),
]

prepare = typer.Typer(
    help="Prepare scenes: scene, align, rasterize, normalize, select, stack.",
    no_args_is_help=True,
)


def add_data_commands(app: typer.Typer) -> None:
    """Adds `check` and `prepare` to the command line."""
    app.command()(check)
    app.add_typer(prepare, name="prepare", rich_help_panel="Prepare")


def check(
    scenes: Annotated[list[Path], typer.Argument(metavar="SCENE...", help="Scene: one file, or several.")],
    truth: Annotated[Path | None, typer.Option(help="Its truth: a mask, or outlines.")] = None,
    band_names: BandNames = None,
    nodata: Annotated[
        float | None, typer.Option(help="Value of pixels without data where the files declare none.")
    ] = None,
    patch_px: Annotated[int, typer.Option(min=1, help="Side of the training patches.")] = 256,
    layer: Annotated[
        str | None, typer.Option("--truth-layer", "--layer", help="Layer of outlines with several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether a scene and its truth can be used; exit status 0 when they can, 1 when not."""
    from glacierseg.raster.check import check_scene, is_usable

    with log.bar("checking") as progress:
        results = check_scene(
            scenes,
            truth,
            bands=split_names(band_names),
            nodata=nodata,
            patch_px=patch_px,
            layer=layer,
            progress=progress,
        )
    if as_json:
        sys.stdout.write(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    else:
        rows = [(result.status, result.name, result.message) for result in results]
        show(log.table(None, ("", "check", "found"), rows))
        for result in results:
            if result.fix and result.status != "passed":
                show(f"{result.name}: {result.fix}")
    if not is_usable(results):
        raise typer.Exit(1)


@prepare.command()
@with_settings
def scene(
    products: Annotated[
        list[Path],
        typer.Argument(
            metavar="PRODUCT...",
            help="Sentinel-2 L2A or Landsat 4-9 Collection 2 Level-2: a folder, an archive or its metadata.",
        ),
    ],
    out: Out,
    settings: ProductSettings,
    inputs: ProductInputs,
    layer: Layer = None,
) -> None:
    """Make a scene of what agencies deliver, without clouds, with spectral indices and terrain."""
    from glacierseg.products.scene import prepare_scene
    from glacierseg.raster.prepare.layers import parse_layers

    layers = parse_layers(layer or [])
    with log.bar("preparing") as progress:
        made = prepare_scene(products, out, settings, inputs, layers=layers, progress=progress)
    _log.info(
        f"{out}, {made.grid.width} x {made.grid.height} px, {1 - made.no_data:.1%} with data"
        + (f", classes in {made.classes}" if made.classes else "")
    )


@prepare.command()
def align(
    source: Annotated[Path, typer.Argument(help="Raster to move.")],
    like: Like,
    out: Out,
    resampling: Annotated[
        Resampling | None,
        typer.Option(help="Interpolation; nearest for masks and classes and bilinear for data if left out."),
    ] = None,
    compress: Compress = True,
) -> None:
    """Bring a raster onto the grid of another one."""
    from glacierseg.raster.prepare.align import align_raster

    with log.bar("aligning") as progress:
        align_raster(source, like, out, resampling=resampling, compress=compress, progress=progress)
    _log.info(str(out))


@prepare.command()
@with_settings
def rasterize(
    outlines: Annotated[Path, typer.Argument(help="Polygons in any format and CRS.")],
    like: Like,
    out: Out,
    settings: RasterizeSettings,
) -> None:
    """Burn outlines into a mask."""
    from glacierseg.raster.prepare.rasterize import rasterize_file

    with log.bar("rasterizing") as progress:
        rasterize_file(outlines, like, out, settings, progress=progress)
    _log.info(str(out))


@prepare.command()
@with_settings
def normalize(
    scene: Annotated[Path, typer.Argument(help="Scene to bring to 0-255.")],
    out: Out,
    ranges: Annotated[Path, typer.Option(help="JSON of band ranges: measured when absent, else reused.")],
    settings: NormalizeSettings,
    measure_on: Annotated[
        list[Path] | None,
        typer.Option(metavar="SCENE", help="Training scene to measure on instead; may be given again."),
    ] = None,
    band_names: BandNames = None,
) -> None:
    """Bring every band to 0-255 by ranges measured once."""
    from glacierseg.raster.prepare.normalize import normalize_scene
    from glacierseg.raster.scene import open_scene

    given = split_names(band_names)
    how = "reused as stored in" if ranges.exists() else "measured and stored in"
    with log.bar("normalizing") as progress:
        normalize_scene(
            open_scene(scene, bands=given),
            out,
            ranges,
            settings,
            measure_on=[open_scene(path, bands=given) for path in measure_on or ()],
            progress=progress,
        )
    _log.info(f"{out}, ranges {how} {ranges}")


@prepare.command()
def select(
    scene: Annotated[Path, typer.Argument(help="Scene to choose from.")],
    bands: Annotated[str, typer.Option(help="Band names or 1-based numbers, separated by commas.")],
    out: Out,
    band_names: BandNames = None,
    compress: Compress = True,
) -> None:
    """Write some bands as a scene of their own."""
    from glacierseg.raster.prepare.select import select_bands
    from glacierseg.raster.scene import open_scene

    chosen, source = split_names(bands) or [], open_scene(scene, bands=split_names(band_names))
    with log.bar("selecting") as progress:
        select_bands(source, chosen, out, compress=compress, progress=progress)
    _log.info(str(out))


@prepare.command()
@with_settings
def stack(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rasters in band order.")],
    out: Out,
    settings: StackSettings,
    dem: Annotated[
        list[Path] | None,
        typer.Option(
            help="Elevation model, in metres or a unit that it names; may be given again for further tiles."
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Raster on the wanted grid; without it the first file's, in UTM if that is in degrees."
        ),
    ] = None,
    layer: Layer = None,
) -> None:
    """Stack rasters on one grid, with spectral indices and terrain by recipe."""
    from glacierseg.raster.prepare.layers import parse_layers
    from glacierseg.raster.prepare.stack import stack_rasters

    layers = parse_layers(layer or [])
    with log.bar("stacking") as progress:
        stack_rasters(files, out, settings, dem=dem, like=like, layers=layers, progress=progress)
    _log.info(str(out))


def split_names(listed: str | None) -> list[str] | None:
    """Returns names that are separated by commas; None for none."""
    return [name.strip() for name in listed.split(",")] if listed else None
