"""The commands that look at data and prepare them."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.cli.output import show

_log = logging.getLogger(__name__)

Out = Annotated[Path, typer.Option("--out", help="The GeoTIFF to write.")]
Like = Annotated[Path, typer.Option(help="A raster on the wanted grid.")]
Names = Annotated[str | None, typer.Option(help="Names of all input bands, separated by commas.")]
Uncompressed = Annotated[bool, typer.Option("--uncompressed", help="Faster to read, larger.")]

prepare = typer.Typer(
    help="Prepare rasters: align, rasterize, normalize, select, stack.", no_args_is_help=True
)


def add_data_commands(app: typer.Typer) -> None:
    """Adds `check` and `prepare` to the command line."""
    app.command()(check)
    app.add_typer(prepare, name="prepare", rich_help_panel="Prepare")


def check(
    scenes: Annotated[list[Path], typer.Argument(metavar="SCENE...", help="A scene: one file, or several.")],
    mask: Annotated[Path | None, typer.Option(help="Its truth: a mask, or outlines.")] = None,
    bands: Annotated[str | None, typer.Option(help="Names of all bands, separated by commas.")] = None,
    nodata: Annotated[float | None, typer.Option(help="Value of pixels without data.")] = None,
    patch_px: Annotated[int, typer.Option(min=1, help="Side of the training patches.")] = 256,
    layer: Annotated[
        str | None, typer.Option("--truth-layer", "--layer", help="Layer of outlines with several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check whether a scene and its truth can be used; exit status 0 when they can, 1 when not."""
    from glacierseg.raster.check import check_scene, is_usable  # noqa: PLC0415

    with log.bar("checking") as progress:
        results = check_scene(
            scenes,
            mask,
            bands=split_names(bands),
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
def align(
    source: Annotated[Path, typer.Argument(help="The raster to move.")],
    like: Like,
    out: Out,
    resampling: Annotated[
        str | None,
        typer.Option(help="nearest, bilinear, cubic, average or mode; by kind of raster when left out."),
    ] = None,
    uncompressed: Uncompressed = False,
) -> None:
    """Bring a raster onto the grid of another one."""
    from glacierseg.raster.align import align_raster  # noqa: PLC0415

    with log.bar("aligning") as progress:
        align_raster(source, like, out, resampling=resampling, compress=not uncompressed, progress=progress)
    _log.info(str(out))


@prepare.command()
def rasterize(
    outlines: Annotated[Path, typer.Argument(help="Polygons in any format and CRS.")],
    like: Like,
    out: Out,
    layer: Annotated[str | None, typer.Option(help="Layer of a file with several.")] = None,
    all_touched: Annotated[
        bool, typer.Option("--all-touched", help="Every pixel that an outline touches.")
    ] = False,
    min_area_km2: Annotated[float, typer.Option(min=0, help="Leave smaller polygons out.")] = 0.0,
    ignore_rim_m: Annotated[
        float, typer.Option(min=0, help="Ignore so many metres along the boundary.")
    ] = 0.0,
) -> None:
    """Burn outlines into a mask."""
    from glacierseg.raster.rasterize import rasterize_file  # noqa: PLC0415

    with log.bar("rasterizing") as progress:
        rasterize_file(
            outlines,
            like,
            out,
            layer=layer,
            all_touched=all_touched,
            min_area_km2=min_area_km2,
            ignore_rim_m=ignore_rim_m,
            progress=progress,
        )
    _log.info(str(out))


@prepare.command()
def normalize(
    scene: Annotated[Path, typer.Argument(help="The scene.")],
    out: Out,
    ranges: Annotated[Path, typer.Option(help="JSON of band ranges: measured when absent, else reused.")],
    measure_on: Annotated[
        list[Path] | None,
        typer.Option(metavar="SCENE", help="Measure on this training scene instead; may be given again."),
    ] = None,
    percentiles: Annotated[
        tuple[float, float], typer.Option(metavar="LOW HIGH", help="What becomes darkest and brightest.")
    ] = (0.5, 99.5),
    physical: Annotated[bool, typer.Option("--physical", help="Fixed ranges by band name.")] = False,
    names: Names = None,
    uncompressed: Uncompressed = False,
) -> None:
    """Bring every band to 0-255 by ranges measured once."""
    from glacierseg.raster.normalize import normalize_scene  # noqa: PLC0415
    from glacierseg.raster.scene import open_scene  # noqa: PLC0415

    given = split_names(names)
    outside: list[str] = []
    how = "reused as stored in" if ranges.exists() else "measured and stored in"
    with log.bar("normalizing") as progress:
        normalize_scene(
            open_scene(scene, bands=given),
            out,
            ranges,
            measure_on=[open_scene(path, bands=given) for path in measure_on or ()],
            low_percentile=percentiles[0],
            high_percentile=percentiles[1],
            physical=physical,
            compress=not uncompressed,
            progress=progress,
            say=outside.append,
        )
    _log.info("; ".join([f"{out}, ranges {how} {ranges}", *outside]))


@prepare.command()
def select(
    scene: Annotated[Path, typer.Argument(help="The scene.")],
    bands: Annotated[str, typer.Option(help="Band names or 1-based numbers, separated by commas.")],
    out: Out,
    names: Names = None,
    uncompressed: Uncompressed = False,
) -> None:
    """Write some bands as a scene of their own."""
    from glacierseg.raster.scene import open_scene  # noqa: PLC0415
    from glacierseg.raster.select import select_bands  # noqa: PLC0415

    with log.bar("selecting") as progress:
        select_bands(
            open_scene(scene, bands=split_names(names)),
            split_names(bands) or [],
            out,
            compress=not uncompressed,
            progress=progress,
        )
    _log.info(str(out))


@prepare.command()
def stack(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The rasters, in band order.")],
    out: Out,
    recipe: Annotated[
        str | None, typer.Option(help="sentinel2-18, landsat-18, or names separated by commas.")
    ] = None,
    dem: Annotated[Path | None, typer.Option(help="Elevation in metres.")] = None,
    like: Annotated[Path | None, typer.Option(help="A raster on the wanted grid.")] = None,
    sensor: Annotated[
        str | None, typer.Option(help="What B2 means: sentinel2, landsat5, landsat7, landsat8 or landsat9.")
    ] = None,
    names: Names = None,
    pixel_size_m: Annotated[
        float | None, typer.Option(help="Bring the first file to its UTM zone, with such pixels.")
    ] = None,
    resampling: Annotated[str, typer.Option(help="nearest, bilinear, cubic, average or mode.")] = "bilinear",
    scale: Annotated[
        float | None, typer.Option(help="Multiply the recipe's bands of reflected light by this.")
    ] = None,
    offset: Annotated[
        float | None, typer.Option(help="Then add this; 0 says that the values are right as they are.")
    ] = None,
    nodata: Annotated[
        float | None, typer.Option(help="Value of pixels without data where the files declare none.")
    ] = None,
    uncompressed: Uncompressed = False,
) -> None:
    """Stack rasters on one grid, with spectral indices and terrain by recipe."""
    from glacierseg.raster.stack import stack_rasters  # noqa: PLC0415

    with log.bar("stacking") as progress:
        stack_rasters(
            files,
            out,
            recipe=recipe,
            dem=dem,
            like=like,
            sensor=sensor,
            names=split_names(names),
            pixel_size_m=pixel_size_m,
            resampling=resampling,
            scale=scale,
            offset=offset,
            nodata=nodata,
            compress=not uncompressed,
            progress=progress,
        )
    _log.info(str(out))


def split_names(listed: str | None) -> list[str] | None:
    """Returns names that are separated by commas; None for none."""
    return [name.strip() for name in listed.split(",")] if listed else None
