"""Opening vector files: which files they are, which layer of them is read, and its table as it is.

A layer that is named is taken. Without a name a file with one layer of the wanted shapes is taken as it is,
whatever tables, styles and layers of other shapes it also holds. Of several such layers one
must be named, except where a command has names that it prefers; the error lists them and the option.

A GeoPackage that another program works in, such as QGIS, is read as it was last saved, and left alone.
"""

import json
import shutil
import sqlite3
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

from glacierseg.errors import DataError, RequestError, TruthError, did_you_mean
from glacierseg.raster.outputs import belongings

_PARQUET = (".parquet", ".geoparquet")
VECTOR_SUFFIXES = frozenset(
    {
        ".gpkg", ".shp", ".geojson", ".json", ".geojsonl", ".geojsons", ".topojson", ".fgb", ".kml", ".kmz",
        ".gml", ".gdb", ".sqlite", ".tab", ".mif", ".csv", ".dxf", ".gpx", ".zip", ".vrt", *_PARQUET,
    }
)  # fmt: skip
"""Of these .gpkg, .zip and .vrt may hold pixels as well: `is_vector` looks into them."""
_NO_DATA_OF_ITS_OWN = frozenset({".json", ".csv", ".vrt", ".zip"})
Kind = Literal["polygons", "lines"]
_TRIES, _PAUSE_S = 20, 0.1
_WORDS = {"polygons": ("Polygon", "Surface"), "lines": ("String", "Curve"), "points": ("Point",)}


def is_vector(path: Path) -> bool:
    """Whether a path names outlines rather than a raster; looks into files whose suffix may be either."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VECTOR_SUFFIXES:
        return path.is_dir() and _has_shapefiles(path)
    if suffix not in {".gpkg", ".zip", ".vrt"} or not path.is_file():
        return True
    try:
        if suffix == ".zip":
            return bool(_members(path))
        if suffix == ".vrt":
            with path.open("rb") as file:
                return b"<OGRVRTDataSource" in file.read(4096)
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as file:
            kinds = {kind for (kind,) in file.execute("SELECT data_type FROM gpkg_contents")}
            return not kinds or not kinds <= {"tiles", "2d-gridded-coverage"}
    except (OSError, sqlite3.Error, zipfile.BadZipFile):
        return True


def read_table(
    path: Path, layer: str | None, kind: Kind, option: str, prefer: Sequence[str]
) -> tuple[Any, list[str], str]:
    """Reads the table of a layer as it is in the file.

    Args:
        path: The file.
        layer: Which layer; see the rule of this module when None.
        kind: What the layer should hold.
        option: Where the user says which layer, for the error.
        prefer: Of several layers the first of these names is taken when none is asked for.

    Returns:
        A GeoDataFrame of any shapes and CRS, or without, its rows numbered from 0; what was corrected; and
        the call of geopandas that reads the same, for a command.

    Raises:
        TruthError: The file is missing or unreadable, has no such layer, or several and nothing says which.
        RequestError: It has no layers but one is asked for, or a package is missing.
    """
    import geopandas as gpd  # noqa: PLC0415  (takes half a second)
    import pyogrio  # noqa: PLC0415
    from shapely.errors import ShapelyError  # noqa: PLC0415

    source = _source(path)
    said: list[str] = []
    try:
        if path.suffix.lower() in _PARQUET:
            _refuse_layer(path, layer, "is GeoParquet", option)
            table = gpd.read_parquet(path)
            call = f"read_parquet({json.dumps(str(path))})"
        else:
            with (
                _settled(path, source) as opened,
                warnings.catch_warnings(record=True) as caught,
                _leaving_nothing_beside(),
            ):
                warnings.simplefilter("always")
                name = _layer_of(path, opened, layer, kind, option, prefer)
                # Open rings are closed; what is no geometry at all becomes NULL.
                table = pyogrio.read_dataframe(opened, layer=name, on_invalid="fix")
            call = f"read_file({json.dumps(str(source))}, layer={json.dumps(name)})"
            texts = [str(one.message) for one in caught]
            if rings := sum(text.startswith("Non closed ring") for text in texts):
                said.append(f"{rings} open ring{'s' if rings > 1 else ''} closed")
            said += dict.fromkeys(text for text in texts if not text.startswith("Non closed ring"))
    except ImportError as error:
        raise RequestError(
            f'{path}: GeoParquet needs pyarrow; run `pip install "glacierseg[parquet]"`'
        ) from error
    except (RuntimeError, ValueError, OSError, ShapelyError) as error:
        if _is_raster(path):
            raise TruthError(f"{path}: is a raster and holds no {kind}; give a vector file") from error
        reason = " ".join(str(error).split(";")[0].replace(f"'{path}' ", "").split()).rstrip(".")
        raise TruthError(
            f"{path}: {kind} cannot be read ({reason}); give a vector file, such as .gpkg or .shp"
        ) from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise TruthError(f"{path}: holds no {kind}, only a table without shapes; give a file with shapes")
    return table, said, call


def own_layers(path: Path) -> tuple[str, ...]:
    """Returns the layers of a vector file that this package wrote; none while it is missing.

    Raises:
        DataError: It is damaged.
    """
    import pyogrio  # noqa: PLC0415

    try:
        with _settled(path, path) as opened, _leaving_nothing_beside():
            return tuple(str(name) for name, _ in pyogrio.list_layers(opened)) if path.is_file() else ()
    except RuntimeError as error:
        raise _damaged(path) from error


def read_own(path: Path, layer: str) -> Any:
    """Reads a layer or a table that this package wrote just as it is; it may be empty.

    Raises:
        DataError: The file is damaged.
    """
    import pyogrio  # noqa: PLC0415

    try:
        with _settled(path, path) as opened, _leaving_nothing_beside():
            return pyogrio.read_dataframe(opened, layer=layer)
    except RuntimeError as error:
        raise _damaged(path) from error


def shown_layer(path: Path, layer: str | None, prefer: Sequence[str]) -> tuple[str, str] | None:
    """Returns name and CRS of the layer of a file of outlines that is read, for programs that show it.

    Args:
        path: The file.
        layer: As for `read_table`.
        prefer: As for `read_table`.

    Returns:
        None where other programs may be unable to open it.

    Raises:
        TruthError: As for `read_table`.
    """
    import pyogrio  # noqa: PLC0415

    if path.suffix.lower() in {*_PARQUET, *_NO_DATA_OF_ITS_OWN} or not path.exists():
        return None
    name = _layer_of(path, _source(path), layer, "polygons", "--existing-layer", prefer)
    with _leaving_nothing_beside():
        crs = pyogrio.read_info(path, layer=name)["crs"]
    return (name, crs) if crs else None


def read_largest(path: Path, layer: str, most: int) -> tuple[Any, int]:
    """Reads the largest outlines of a layer that this package wrote, and says how many the layer has.

    By their column `area_km2`; without it all are read.

    Raises:
        DataError: The file is damaged.
    """
    import pyogrio  # noqa: PLC0415

    try:
        with _leaving_nothing_beside():
            facts = pyogrio.read_info(path, layer=layer)
            if facts["features"] <= most or "area_km2" not in facts["fields"]:
                return pyogrio.read_dataframe(path, layer=layer), facts["features"]
            sql = f'SELECT * FROM "{layer}" ORDER BY area_km2 DESC LIMIT {most}'  # noqa: S608  (own names)
            return pyogrio.read_dataframe(path, sql=sql), facts["features"]
    except RuntimeError as error:
        raise _damaged(path) from error


def is_open_elsewhere(path: Path) -> bool:
    """Whether another program works in a GeoPackage now, or ended in the middle of it."""
    return (
        any(not one.name.lower().endswith("-shm") for one in belongings(path))
        and path.suffix.lower() == ".gpkg"
    )


@contextmanager
def _settled(path: Path, source: Path | str) -> Iterator[Path | str]:
    """Gives what to open: of a GeoPackage that another program works in, a copy with all that it saved.

    Whoever reads such a file itself, even only reads it, takes part in the journal beside it.
    """
    if path.suffix.lower() != ".gpkg" or not (is_open_elsewhere(path) or _keeps_a_journal(path)):
        yield source
        return
    with TemporaryDirectory(prefix="glacierseg-") as folder:
        copy = Path(folder) / path.name
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):  # A journal that was just ended.
                files = [path, *(one for one in belongings(path) if not one.name.endswith("-shm"))]
                before = [(one.stat().st_size, one.stat().st_mtime_ns) for one in files]
                for one in files:
                    shutil.copyfile(one, Path(folder) / one.name)
                if before == [(one.stat().st_size, one.stat().st_mtime_ns) for one in files]:
                    break
            time.sleep(_PAUSE_S)
        else:
            raise TruthError(f"{path}: another program is writing to it; run again when it has saved")
        # Whatever stands in the journal is written to the copy; of a damaged file GDAL says more.
        with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as database:
            database.execute("PRAGMA journal_mode=DELETE")
        yield copy


def _keeps_a_journal(path: Path) -> bool:
    """Whether a GeoPackage is in the mode in which also readers make files beside it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"


@contextmanager
def _leaving_nothing_beside() -> Iterator[None]:
    """Keeps GDAL from writing a file `.aux.xml` beside a GeoPackage with metadata that is only read."""
    import pyogrio  # noqa: PLC0415

    before = pyogrio.get_gdal_config_option("GDAL_PAM_ENABLED")
    pyogrio.set_gdal_config_options({"GDAL_PAM_ENABLED": False})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"GDAL_PAM_ENABLED": before})


def refuse_layer_of_raster(path: Path, layer: str | None, option: str = "--truth-layer") -> None:
    """Raises RequestError when a layer is asked for of a raster, which has none."""
    if not is_vector(path):
        _refuse_layer(path, layer, "is a raster", option)


def one_layer_each(paths: Sequence[Path], layers: Sequence[str | None] | None) -> list[str | None]:
    """Shares out layers among files: one for all vector files, or one for each of all files in their order.

    Args:
        paths: The files, rasters among them.
        layers: None, one, or as many as there are files.

    Raises:
        RequestError: Their number is another, or there is one and all files are rasters.
    """
    if not layers:
        return [None] * len(paths)
    if len(layers) == len(paths):
        return list(layers)
    if len(layers) != 1:
        raise RequestError(
            f"{len(layers)} x --truth-layer for {len(paths)} files; give one for all, or one for each in "
            "order"
        )
    if paths and not any(is_vector(path) for path in paths):
        refuse_layer_of_raster(paths[0], layers[0])
    return [layers[0] if is_vector(path) else None for path in paths]


def _source(path: Path) -> Path | str:
    """Returns what GDAL opens: the file, or what is in a folder or an archive."""
    if str(path).startswith("/vsi"):
        # A path makes one slash of the two that stand before an absolute one in GDAL's names.
        rest = Path("/", *path.parts[2:])
        return f"/{path.parts[1]}/{rest}" if any(one.is_file() for one in (rest, *rest.parents)) else path
    if not path.exists():
        raise TruthError(f"{path}: no such file; check the path")
    if path.is_dir():
        if path.suffix.lower() == ".gdb" or _has_shapefiles(path):
            return path
        names = sorted(one.name for one in path.iterdir() if one.suffix.lower() in VECTOR_SUFFIXES)
        raise TruthError(
            f"{path}: is a folder without Shapefiles; give a vector file"
            + (f", such as {path / names[0]}" if names else "")
        )
    if path.suffix.lower() == ".shp":
        _require_whole_shapefile(path)
    if path.suffix.lower() != ".zip":
        return path
    if not zipfile.is_zipfile(path):
        raise TruthError(f"{path}: is no zip archive, or a damaged one; copy it again")
    members = _members(path)
    folders = {str(PurePosixPath(one).parent) for one in members}
    if not members:
        raise TruthError(
            f"{path}: is an archive without a vector file; give outlines, such as a .gpkg or .shp"
        )
    if len(members) > 1 and (len(folders) > 1 or any(not one.lower().endswith(".shp") for one in members)):
        raise TruthError(f"{path}: holds several vector files ({', '.join(members)}); unpack it and give one")
    inside = members[0] if len(members) == 1 else folders.pop()
    return f"/vsizip/{path.resolve()}/{inside}".removesuffix("/.")


def _require_whole_shapefile(path: Path) -> None:
    if not any(path.with_suffix(suffix).exists() for suffix in (".shx", ".SHX")):
        raise TruthError(
            f"{path}: its .shx is missing; copy all files of the Shapefile, also its .dbf and .prj"
        )
    with path.open("rb") as file:
        head = file.read(28)
    # The header says how long the file is; of one that is cut short GDAL reads what is left.
    if head.startswith(b"\0\0\x27\x0a") and path.stat().st_size < 2 * int.from_bytes(head[24:28], "big"):
        raise TruthError(f"{path}: the file is truncated; copy it again")


def _members(path: Path) -> list[str]:
    """Vector files in an archive; tables and the like only where it holds nothing else."""
    with zipfile.ZipFile(path) as archive:
        names = [PurePosixPath(name) for name in archive.namelist() if not name.startswith("__MACOSX")]
    bases = [next((part for part in one.parents if part.suffix.lower() == ".gdb"), one) for one in names]
    found = sorted({str(one) for one in bases if one.suffix.lower() in VECTOR_SUFFIXES - _NO_DATA_OF_ITS_OWN})
    others = {one.suffix.lower() for one in names} - {""}
    if not found and others <= {".json", ".csv", ".txt", ".html", ".pdf"}:
        found = sorted(str(one) for one in names if one.suffix.lower() in {".json", ".csv"})
    return found


def _is_raster(path: Path) -> bool:
    if path.suffix.lower() in {".gpkg", ".vrt"}:
        return not is_vector(path)
    starts = (b"II*\0", b"MM\0*", b"II+\0", b"\x89HDF", b"CDF", b"\0\0\0\x0cjP", b"\x89PNG", b"\xff\xd8\xff")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8).startswith(starts)


def _has_shapefiles(folder: Path) -> bool:
    return folder.suffix.lower() == ".gdb" or any(one.suffix.lower() == ".shp" for one in folder.iterdir())


def _refuse_layer(path: Path, layer: str | None, what: str, option: str) -> None:
    if layer is not None:
        raise RequestError(f"{path}: {what} and has no layers; leave {option} {layer} out")


def _layer_of(
    path: Path, source: Path | str, asked: str | None, shapes: str, option: str, prefer: Sequence[str]
) -> str:
    """Returns the layer to read, by the rule of this module."""
    import pyogrio  # noqa: PLC0415

    with _leaving_nothing_beside():
        kinds = {str(name): kind for name, kind in pyogrio.list_layers(source)}
    fitting = [name for name, kind in kinds.items() if kind is not None and _may_hold(str(kind), shapes)]
    if asked is not None:
        if asked in kinds:
            return asked
        raise TruthError(
            f"{path}: has no layer {asked!r}{did_you_mean(asked, kinds)}; "
            f"its layers of {shapes} are {', '.join(fitting) or 'none'}; name one with {option}, or give "
            "another file"
        )
    if len(kinds) == 1:
        return next(iter(kinds))
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise TruthError(f"{path}: holds no {shapes} in its layers {', '.join(kinds) or '(none)'}")
    for name in prefer:
        if name in fitting:
            return name
    raise TruthError(f"{path}: has the layers {', '.join(fitting)}; say which with {option}")


def _may_hold(kind: str, shapes: str) -> bool:
    """Whether a layer of some geometry type may hold polygons, or lines; one of unknown type may."""
    named = next((one for one, words in _WORDS.items() if any(word in kind for word in words)), shapes)
    return named == shapes


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: cannot be read as outlines; remove it and run again to write it again")
