"""Commands that the checks propose, typed as they stand: afterwards the check passes."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.rio.main import main_group

from glacierseg.cli import main
from glacierseg.raster.check import check_scene
from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.grid import Grid

SIDE = 128


@pytest.fixture
def levels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 250, (3, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture
def truth() -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:60, 30:90] = 1
    return mask


@pytest.fixture
def scene(make_raster: Callable[..., Path]) -> Callable[..., Path]:
    def make(values: NDArray[Any], grid: Grid | None = None, **options: Any) -> Path:
        # A blank in the name has to survive the shell.
        return make_raster("my scene.tif", values, grid, **({"names": ["p", "q", "r"]} | options))

    return make


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Types the fix of one check in the folder of the rasters; gives the results by name."""
    monkeypatch.chdir(tmp_path)

    def type_fix(path: Path, name: str, mask: Path | None = None, **options: Any) -> None:
        found = results_of(path, mask, **options)[name]
        assert found.status != "passed"
        for line in found.fix.replace("NAME,NAME,...", "a,b,c").split(" && "):
            program, *words = shlex.split(line)
            if program == "rio":
                done = CliRunner().invoke(main_group, words)
                assert done.exit_code == 0, done.output
            else:
                assert program == "glacierseg"
                monkeypatch.setattr(sys, "argv", [program, *words])
                with pytest.raises(SystemExit) as stop:
                    main()
                assert not stop.value.code, found.fix

    return type_fix


def results_of(path: Path, mask: Path | None = None, **options: Any) -> dict[str, CheckResult]:
    return {result.name: result for result in check_scene(path, mask, **({"patch_px": 64} | options))}


def test_names(
    scene: Callable[..., Path], levels: NDArray[np.uint8], mend: Callable[..., None], tmp_path: Path
) -> None:
    mend(scene(levels, names=None), "bands")
    assert results_of(tmp_path / "NAMED.tif")["bands"].message == "3 bands: a, b, c"


@pytest.mark.parametrize(
    ("epsg", "transform", "size_m"),
    [(4326, (0.0002, 0, 78.9, 0, -0.00017, 30.7), 19), (3857, (30, 0, 8783000, 0, -30, 3600000), 25.7)],
)
def test_crs(
    scene: Callable[..., Path],
    levels: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
    epsg: int,
    transform: tuple[float, ...],
    size_m: float,
) -> None:
    mend(scene(levels, Grid(rasterio.CRS.from_epsg(epsg), Affine(*transform), SIDE, SIDE)), "CRS")
    assert results_of(tmp_path / "UTM.tif")["CRS"].status == "passed"
    with rasterio.open(tmp_path / "UTM.tif") as dataset:
        assert dataset.res == (size_m, size_m)
        assert dataset.descriptions == ("p", "q", "r")


@pytest.mark.parametrize("fault", [np.nan, -9999, np.finfo(np.float32).min])
def test_nodata_that_is_not_declared(
    scene: Callable[..., Path],
    levels: NDArray[np.uint8],
    mend: Callable[..., None],
    fault: float | np.float32,
) -> None:
    floats = levels.astype(np.float32)
    floats[1, 5, 5] = fault
    path = scene(floats)
    mend(path, "undeclared nodata")
    results = results_of(path)
    assert results["undeclared nodata"].status == "passed"
    assert results["nodata"].per_band["q"]["missing"] == 1 / SIDE**2


def test_zeros_that_are_not_declared(
    scene: Callable[..., Path], levels: NDArray[np.uint8], mend: Callable[..., None]
) -> None:
    levels[:, :9] = 0
    path = scene(levels)
    mend(path, "undeclared nodata")
    assert results_of(path)["nodata"].per_band["q"]["missing"] == pytest.approx(9 / SIDE)


@pytest.mark.parametrize(
    ("check", "driver"),
    [
        *(("undeclared nodata", driver) for driver in ("GTiff", "COG", "VRT", "ENVI", "HFA")),
        *(("truth nodata", driver) for driver in ("GTiff", "COG", "VRT", "HFA")),
        *(("bands", driver) for driver in ("GTiff", "COG", "VRT")),  # others know no transparency
    ],
)
def test_what_is_edited_is_a_plain_geotiff(
    scene: Callable[..., Path],
    make_raster: Callable[..., Path],
    levels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
    driver: str,
    check: str,
) -> None:
    levels[:, :9] = 0 if check == "undeclared nodata" else levels[:, :9]
    path = scene(levels)
    if check == "bands":
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    mask = make_raster("my mask.tif", truth, nodata=0) if check == "truth nodata" else None
    source = mask or path
    other = tmp_path / f"other one{'.vrt' if driver == 'VRT' else '.tif' if driver == 'COG' else '.img'}"
    if driver != "GTiff":
        rasterio.shutil.copy(source, other, driver=driver)
    edited = other if driver != "GTiff" else source
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file != source}
    mend(*((path, edited) if mask else (edited,))[:1], check, edited if mask else None)
    result = source if driver == "GTiff" else tmp_path / "EDITED_other one.tif"
    assert results_of(*((path, result) if mask else (result,)))[check].status == "passed"
    assert {file: file.read_bytes() for file in before} == before
    if not mask and driver != "HFA":
        with rasterio.open(result) as dataset:
            assert dataset.descriptions == ("p", "q", "r")


@pytest.mark.parametrize("kind", ["complex64", "int64"])
def test_numbers_that_no_network_takes(
    scene: Callable[..., Path],
    levels: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
    kind: str,
) -> None:
    mend(scene(levels.astype(kind)), "data type")
    assert results_of(tmp_path / "OUT.tif")["data type"].status == "passed"


def test_infinities(
    scene: Callable[..., Path], levels: NDArray[np.uint8], mend: Callable[..., None], tmp_path: Path
) -> None:
    floats = levels.astype(np.float32)
    floats[1, 5, 5] = -np.inf
    mend(scene(floats), "undeclared nodata")
    results = results_of(tmp_path / "CLEAN.tif")
    assert results["undeclared nodata"].status == "passed"
    assert results["nodata"].per_band["q"] == {"missing": 1 / SIDE**2, "nan": 1 / SIDE**2, "infinite": 0}


@pytest.mark.parametrize(
    ("check", "fill", "options"),
    [("distinct bands", 7, {}), ("distinct bands", None, {}), ("nodata", 0, {"nodata": 0})],
)
def test_band_that_says_nothing(
    scene: Callable[..., Path],
    levels: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
    check: str,
    fill: int | None,
    options: dict[str, int],
) -> None:
    levels[1] = levels[0] if fill is None else fill
    mend(scene(levels, **options), check)
    results = results_of(tmp_path / "FEWER.tif")
    assert results["bands"].message == "2 bands: p, r"
    assert results[check].status == "passed"


def test_mask_elsewhere(
    scene: Callable[..., Path],
    make_raster: Callable[..., Path],
    make_grid: Callable[..., Grid],
    levels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
) -> None:
    mask = make_raster("my mask.tif", truth, make_grid(SIDE, SIDE, left=300010))
    path = scene(levels)
    mend(path, "truth grid", mask)
    assert results_of(path, tmp_path / "ALIGNED.tif")["truth grid"].status == "passed"


def test_mask_that_hides_its_background(
    scene: Callable[..., Path],
    make_raster: Callable[..., Path],
    levels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mend: Callable[..., None],
) -> None:
    mask, path = make_raster("my mask.tif", truth, nodata=0), scene(levels)
    mend(path, "truth nodata", mask)
    assert results_of(path, mask)["truth nodata"].status == "passed"


@pytest.mark.parametrize(("glacier", "check"), [(2, "truth values"), (255, "glacier share")])
def test_mask_with_another_number_for_glacier(
    scene: Callable[..., Path],
    make_raster: Callable[..., Path],
    levels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    mend: Callable[..., None],
    tmp_path: Path,
    glacier: int,
    check: str,
) -> None:
    mask, path = make_raster("my mask.tif", truth * np.uint8(glacier)), scene(levels)
    mend(path, check, mask)
    results = results_of(path, tmp_path / "MASK.tif")
    assert {results[name].status for name in ("truth grid", "truth values", "glacier share")} == {"passed"}
    with rasterio.open(tmp_path / "MASK.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), truth)
