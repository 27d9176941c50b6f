"""Files that are cut short, garbled or something else altogether: one line, no traceback, no output."""

import contextlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from rasterio.transform import from_origin

from glacierseg.cli import main
from tests.helpers import blobs

SIZE = 48
SEEDS = range(12)
PLACE = {"crs": "EPSG:32643", "transform": from_origin(700_000, 3_600_000, 30, 30)}


def _raster(path: Path, values: np.ndarray, **facts: object) -> Path:
    layout = {"height": SIZE, "width": SIZE, "count": len(values), "dtype": values.dtype}
    with rasterio.open(path, "w", **({"driver": "GTiff"} | PLACE | layout | facts)) as dataset:
        dataset.write(values)
        if len(values) == 4:
            dataset.descriptions = ("blue", "green", "red", "swir1")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sound files of many kinds."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    mask = blobs(SIZE, SIZE, 4)[None]
    scene = rng.integers(100, 3000, (4, SIZE, SIZE)).astype(np.uint16)
    _raster(
        folder / "scene.tif", scene, nodata=0, tiled=True, blockxsize=16, blockysize=16, compress="deflate"
    )
    _raster(folder / "raw.img", scene, driver="ENVI")
    _raster(folder / "lossless.jp2", scene[:1], driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    _raster(folder / "mask.tif", mask, nodata=255)
    rows = np.mgrid[:SIZE, :SIZE][0]
    _raster(folder / "dem.tif", (4000 + 9 * rows)[None].astype(np.float32), nodata=-9999)
    _raster(folder / "probability.tif", (mask * 0.8 + 0.1).astype(np.float32))
    rasterio.shutil.copy(folder / "scene.tif", folder / "scene.vrt", driver="VRT")
    with zipfile.ZipFile(folder / "scene.zip", "w") as archive:
        archive.write(folder / "scene.tif", "scene.tif")
    shapes = [
        shapely.box(700_300, 3_599_100, 700_800, 3_599_700),
        shapely.box(700_900, 3_598_800, 701_200, 3_599_300),
    ]
    table = gpd.GeoDataFrame({"rgi_id": ["a", "b"]}, geometry=shapes, crs=PLACE["crs"])
    table.to_file(folder / "outlines.gpkg", layer="glaciers")
    table.to_file(folder / "outlines.shp")
    table.to_file(folder / "outlines.geojson", driver="GeoJSON")
    bands = {name: {"low": 0, "high": 3000} for name in ("blue", "green", "red", "swir1")}
    (folder / "ranges.json").write_text(json.dumps({"bands": bands}))
    (folder / "parameters.json").write_text(json.dumps({"min_area_km2": 0.01}))
    (folder / "run.yaml").write_text(
        "name: r\nregions:\n  - {name: a, scene: scene.tif, truth: mask.tif, roles: [train, validate]}\n"
        "models: [{name: m_landsnet, width: 0.125, patch_px: 32, epochs: 1}]\n"
    )
    return folder


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, max(len(data) - 1, 1)))]


def _garble_start(data: bytes, rng: np.random.Generator) -> bytes:
    return _garble(data, rng, 600)


def _garble(data: bytes, rng: np.random.Generator, reach: int | None = None) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(0, min(len(changed), reach or len(changed)), 6):
        changed[place] = rng.integers(0, 256)
    return changed.tobytes()


def _blank(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    return data[:start] + bytes(min(200, len(data) - start)) + data[start + 200 :]


def _other(data: bytes, rng: np.random.Generator) -> bytes:
    kinds = (b"", b"\x00" * 50, b"<html>404</html>", b"II*\x00", b"SQLite format 3\x00", b"{", b"PK\x03\x04")
    return kinds[int(rng.integers(0, len(kinds)))]


DAMAGE: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _cut,
    _garble_start,
    _garble,
    _blank,
    _other,
)

# Each command reads the file that is damaged, `@`; `%` is what it writes.
COMMANDS = {
    "scene.tif": [
        "check @",
        "prepare align @ --like mask.tif --out %.tif",
        "prepare stack @ --recipe red,ndsi,slope --dem dem.tif --out %.tif",
        "prepare normalize @ --ranges ranges.json --out %.tif",
        "prepare select @ --bands red --out %.tif",
        "prepare rasterize outlines.gpkg --like @ --out %.tif",
    ],
    "raw.img": ["prepare stack @ --out %.tif", "check @"],
    "lossless.jp2": ["prepare align @ --like mask.tif --out %.tif", "check @"],
    "scene.vrt": ["prepare stack @ --out %.tif", "check @"],
    "scene.zip": ["check @", "prepare stack /vsizip/@/scene.tif --out %.tif"],
    "mask.tif": [
        "check scene.tif --truth @",
        "refine @ --out %.tif",
        "vectorize @ --out %.gpkg",
        "inventory @ --out %.gpkg",
        "evaluate @ outlines.gpkg --draws 0 --out %.json",
        "prepare align @ --like scene.tif --out %.tif",
    ],
    "dem.tif": [
        "inventory mask.tif --dem @ --out %.gpkg",
        "prepare stack scene.tif --recipe red,slope --dem @ --out %.tif",
        "evaluate mask.tif mask.tif --dem @ --draws 0 --no-distances --no-glaciers --out %.json",
    ],
    "probability.tif": [
        "inventory mask.tif --probability @ --out %.gpkg",
        "evaluate mask.tif mask.tif --probability @ --draws 0 --no-distances --no-glaciers --out %.json",
        "vectorize mask.tif --probability @ --layers contour --out %.gpkg",
    ],
    "outlines.gpkg": [
        "prepare rasterize @ --like scene.tif --out %.tif",
        "inventory @ --out %.gpkg",
        "change @ mask.tif --out %.gpkg",
    ],
    "outlines.shp": ["prepare rasterize @ --like scene.tif --out %.tif", "check scene.tif --truth @"],
    "outlines.geojson": [
        "prepare rasterize @ --like scene.tif --out %.tif",
        "inventory mask.tif --existing @ --out %.gpkg",
    ],
    "ranges.json": ["prepare normalize scene.tif --ranges @ --out %.tif"],
    "parameters.json": ["refine mask.tif --parameters @ --out %.tif"],
    "run.yaml": ["train @ --model unknown --out %"],
}
CASES = [
    (file, command, damage, seed)
    for file, commands in COMMANDS.items()
    for number, command in enumerate(commands)
    for seed in SEEDS
    for damage in [DAMAGE[(seed + number) % len(DAMAGE)]]
]


def test_there_are_three_hundred_of_them() -> None:
    assert len(CASES) >= 300


@pytest.fixture(scope="module")
def folder(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("damaged")
    with contextlib.chdir(folder):
        yield folder


@pytest.mark.parametrize("file", COMMANDS)
def test_damage_is_one_line_and_leaves_nothing(
    file: str, whole: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = []
    sound = {entry.name for entry in whole.iterdir()}
    for name in sound:
        shutil.copy(whole / name, folder)
    for _, command, damage, seed in (case for case in CASES if case[0] == file):
        for entry in folder.iterdir():
            if entry.name not in sound:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (folder / file).write_bytes(damage((whole / file).read_bytes(), np.random.default_rng(seed)))
        before = sorted(entry.name for entry in folder.iterdir())
        words = command.replace("@", file).replace("%", "made").split()
        monkeypatch.setattr(sys, "argv", ["glacierseg", *words])
        status: int | str = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException as error:  # noqa: BLE001  (a traceback, whatever its kind)
            status = f"traceback of {error!r}"
        said = capsys.readouterr()
        left = {entry.name for entry in folder.iterdir() if not entry.name.endswith(".aux.xml")} - set(before)
        errors = [line for line in said.err.splitlines() if not line.startswith("warning: ")]
        one_line = len(errors) == 1 or words[0] == "check"
        if status != 0 and (status != 1 or left or not one_line):
            faults.append(f"{command}, {damage.__name__}, seed {seed}: {status}, left {left}, said {errors}")
    shutil.copy(whole / file, folder)
    assert not faults, "\n".join(faults)
