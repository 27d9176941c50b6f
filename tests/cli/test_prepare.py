"""Options of the data commands that reach the stages."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from glacierseg.cli import main
from tests.products.shelves import CORNER, make_landsat, write_image


def write(path: Path, values: np.ndarray) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs="EPSG:32644",
        transform=Affine(10, 0, 300000, 0, -10, 3400000),
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
    ) as dataset:
        dataset.write(values)
    return path


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Types a command; gives its exit status."""

    def run(*words: str | Path | int) -> int:
        monkeypatch.setattr(sys, "argv", ["glacierseg", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


def test_ranges_of_several_scenes_by_percentiles(
    tmp_path: Path, type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(1, 5000, (2, 30, 40)).astype(np.uint16) for _ in range(2))
    paths = write(tmp_path / "a.tif", first), write(tmp_path / "b.tif", 2 * second)
    ranges, out = tmp_path / "ranges.json", tmp_path / "out.tif"
    given = ("--ranges", ranges, "--out", out, "--band-names", "red,nir")
    training = [word for path in paths for word in ("--measure-on", path)]
    assert type_in("prepare", "normalize", paths[0], *given, *training, "--percentiles", 2, 98) == 0
    assert "measured and stored in" in capsys.readouterr().out.replace("\n", "")
    pooled = np.concatenate([first[1].ravel(), 2 * second[1].ravel()])
    low, high = np.percentile(pooled, [2, 98], method="inverted_cdf")
    assert json.loads(ranges.read_text())["bands"]["nir"] == {"low": low, "high": high}
    assert type_in("prepare", "normalize", paths[1], *given) == 0
    assert "reused as stored in" in capsys.readouterr().out.replace("\n", "")
    with rasterio.open(out) as dataset:
        assert dataset.descriptions == ("red", "nir")
        expected = np.rint(1 + np.clip((2.0 * second[1] - low) / (high - low), 0, 1) * 254)
        np.testing.assert_array_equal(dataset.read(2), expected)


def test_bands_by_given_names_and_by_number(tmp_path: Path, type_in: Callable[..., int]) -> None:
    values = np.random.default_rng(0).integers(0, 9, (3, 20, 30)).astype(np.uint8)
    scene, out = write(tmp_path / "a.tif", values), tmp_path / "out.tif"
    command = [
        "prepare",
        "select",
        scene,
        "--out",
        out,
        "--band-names",
        "red,green,blue",
        "--bands",
        "blue,1",
    ]
    assert type_in(*command, "--uncompressed") == 0
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(), values[[2, 0]])
        assert dataset.descriptions == ("blue", "red")
        assert dataset.compression is None


def test_a_scene_of_a_product(
    tmp_path: Path, type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    product, dem = make_landsat(tmp_path / "my share"), tmp_path / "dem.tif"
    x, y = CORNER
    write_image(dem, np.full((30, 30), 5000, np.float32), 30, corner=(x - 120, y + 120))
    out = tmp_path / "scene.tif"
    given = (
        "--dem",
        dem,
        "--keep",
        "cirrus,shadow",
        "--grow-m",
        30,
        "--write-classes",
        "--recipe",
        "red,slope",
    )
    assert type_in("prepare", "scene", product, "--out", out, *given) == 0
    said = capsys.readouterr().out
    assert "x 0.275 - 2000" in said
    assert "12 x 12 px" in said.replace("\n", "")
    with rasterio.open(out) as dataset:
        assert dataset.descriptions == ("red", "slope")
    with rasterio.open(tmp_path / "scene_classes.tif") as dataset:
        assert dataset.tags()["GLACIERSEG_MASKED"] == "cloud"
    assert type_in("prepare", "scene", product, product, "--out", out, *given) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("check", "a.tif", "--patch-px", "0"), 2),
        (("prepare", "rasterize", "a.gpkg", "--like", "a.tif", "--out", "b.tif", "--ignore-rim-m", "-1"), 1),
        (("prepare", "select", "a.tif", "--bands", "", "--out", "b.tif"), 1),
        (("prepare", "stack", "a.tif", "--pixel-size-m", "0", "--out", "b.tif"), 1),
        (("prepare", "stack", "a.tif", "--resampling", "lanczos", "--out", "b.tif"), 2),
    ],
)
def test_senseless_requests_are_one_line(
    tmp_path: Path,
    type_in: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tif", np.ones((2, 20, 30), np.uint8))
    assert type_in(*words) == status
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert status == 2 or len(shown.strip().splitlines()) == 1
    assert not (tmp_path / "b.tif").exists()


def test_layer_of_the_truth(
    tmp_path: Path, type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    import geopandas as gpd
    from shapely.geometry import box

    scene = write(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 99, (2, 80, 80)).astype(np.uint8))
    for layer, right in (("raw", 300400), ("smooth", 300200)):
        shape = box(300000, 3399200, right, 3400000)
        gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32644").to_file(tmp_path / "t.gpkg", layer=layer)
    for layer, share in (("raw", "50 %"), ("smooth", "25 %")):
        assert type_in("check", scene, "--truth", tmp_path / "t.gpkg", "--layer", layer, "--json") == 0
        results = {result["name"]: result for result in json.loads(capsys.readouterr().out)}
        assert results["glacier share"]["message"].startswith(share)
        assert set(results["values"]["per_band"]) == {"band_1", "band_2"}


def test_layers_reach_the_stack(
    tmp_path: Path, type_in: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The option may be given again, and names a file on any grid."""
    light = np.random.default_rng(0).uniform(0, 0.9, (2, 30, 40)).astype(np.float32)
    source = write(tmp_path / "light.tif", light)
    speed, coherence = (np.full((1, 30, 40), value, np.float32) for value in (12, 0.5))
    layers = [
        f"{name}={write(tmp_path / f'{name}.tif', values)}"
        for name, values in (("velocity", speed), ("coherence", coherence))
    ]
    out = tmp_path / "out.tif"
    words = ["prepare", "stack", source, "--out", out, "--band-names", "red,nir"]
    words += ["--recipe", "coherence,red,velocity"]
    assert type_in(*words, "--layer", layers[0], "--layer", layers[1]) == 0
    with rasterio.open(out) as dataset:
        assert dataset.descriptions == ("coherence", "red", "velocity")
        np.testing.assert_array_equal(dataset.read(), [coherence[0], light[0], speed[0]])
    assert type_in(*words, "--layer", layers[0], "--layer", layers[0]) == 1
    assert "layer 'velocity' is given twice" in capsys.readouterr().err
