import contextlib
import gzip
import io
import shlex
import shutil
import subprocess
import tarfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from click.testing import CliRunner
from rasterio.control import GroundControlPoint
from rasterio.rio.main import main_group
from rasterio.rpc import RPC
from rasterio.transform import from_origin
from scipy.io import netcdf_file

from glacierseg.errors import RasterError
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.scene import open_scene
from tests.helpers import blobs, write_mask

HEIGHT, WIDTH = 30, 20


@pytest.fixture
def envi(tmp_path: Path) -> Path:
    """A raw file of two bands, 7 everywhere."""
    path = tmp_path / "valley.img"
    layout = {"height": HEIGHT, "width": WIDTH, "count": 2, "dtype": "uint16"}
    place = {"crs": "EPSG:32645", "transform": from_origin(5e5, 3.1e6, 30, 30)}
    with rasterio.open(path, "w", driver="ENVI", **layout, **place) as file:
        file.write(np.full((2, HEIGHT, WIDTH), 7, np.uint16))
    return path


def test_a_whole_raw_file_is_read(envi: Path) -> None:
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()
        grid = grid_of(dataset)
    assert grid.shape == (HEIGHT, WIDTH)
    assert grid.crs.to_epsg() == 32645


@pytest.mark.parametrize("offset", [0, 700])
@pytest.mark.parametrize("missing_bytes", [1, HEIGHT * WIDTH * 2])
def test_a_raw_file_that_is_cut_short_is_not_read_as_zeros(
    envi: Path, offset: int, missing_bytes: int
) -> None:
    header = envi.with_suffix(".hdr")
    header.write_text(header.read_text().replace("header offset = 0", f"header offset = {offset}"))
    whole = bytes(offset) + envi.read_bytes()
    envi.write_bytes(whole)
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()
    envi.write_bytes(whole[:-missing_bytes])
    words = rf"valley\.img: has {len(whole) - missing_bytes} bytes, and its header promises {len(whole)}"
    with pytest.raises(RasterError, match=words):
        open_scene(envi)


def test_a_mosaic_of_raw_files_that_are_cut_short_is_refused(envi: Path) -> None:
    mosaic = envi.with_suffix(".vrt")
    rasterio.shutil.copy(envi, mosaic, driver="VRT")
    assert open_scene(mosaic).grid.shape == (HEIGHT, WIDTH)
    envi.write_bytes(envi.read_bytes()[:-9])
    with pytest.raises(RasterError, match=r"valley\.img: .*is cut short"):
        open_scene(mosaic)


@pytest.mark.parametrize("key", ["file compression", "File Compression"])
def test_a_compressed_raw_file_may_be_shorter(envi: Path, key: str) -> None:
    envi.write_bytes(gzip.compress(envi.read_bytes()))
    header = envi.with_suffix(".hdr")
    header.write_text(header.read_text() + f"{key} = 1\n")
    with open_raster(envi) as dataset:
        assert (dataset.read() == 7).all()


def test_what_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(RasterError, match=r"text\.tif: is not a raster"):
        open_raster(tmp_path / "text.tif")
    with pytest.raises(RasterError, match=r"none\.tif: no such file"):
        open_raster(tmp_path / "none.tif")


def plain(path: Path, **facts: Any) -> Path:
    values = np.arange(1, HEIGHT * WIDTH + 1, dtype=np.uint16).reshape(1, HEIGHT, WIDTH)
    profile = {"crs": "EPSG:32645", "transform": from_origin(5e5, 3.1e6, 30, 30)} | facts
    layout = {"height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", **({"driver": "GTiff"} | profile), **layout) as file:
        file.write(values)
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(RasterError) as caught:
        open_scene(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def typed(command: str, folder: Path) -> None:
    """Runs commands of rasterio as they are printed, joined by `&&`."""
    for one in command.split(" && "):
        words = shlex.split(one)
        assert words[0] == "rio"
        with contextlib.chdir(folder):
            result = CliRunner().invoke(main_group, words[1:])
        assert result.exit_code == 0, result.output


def cure(message: str) -> str:
    return message.split("`")[1]


def test_a_folder_an_archive_and_a_product_are_named_for_what_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    plain(folder / "b4.tif")
    assert "is a folder, not a raster; give the file (b4.tif)" in refusal(folder)
    archive = tmp_path / "scenes.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "b4.tif", "in/b4.tif")
    inside = refusal(archive).rpartition(" ")[2]
    assert open_scene(inside).grid.shape == (HEIGHT, WIDTH)
    assert open_scene(Path(inside)).files == (archive,)
    tape = tmp_path / "scenes.tar"
    with tarfile.open(tape, "w") as file:
        file.add(folder / "b4.tif", "b4.tif")
    assert open_scene(refusal(tape).rpartition(" ")[2]).grid.shape == (HEIGHT, WIDTH)
    packed = tmp_path / "b4.tif.gz"
    packed.write_bytes(gzip.compress((folder / "b4.tif").read_bytes()))
    inside = refusal(packed).rpartition(" ")[2]
    assert open_scene(inside).grid.shape == (HEIGHT, WIDTH)
    assert open_scene(inside).files == (packed,)
    with zipfile.ZipFile(tmp_path / "S2A.zip", "w") as file:
        file.writestr("S2A.SAFE/MTD_MSIL2A.xml", "<a/>")
    assert "is a Sentinel-2 L2A product, not a raster; make a scene of it first" in refusal(
        tmp_path / "S2A.zip"
    )
    safe = tmp_path / "S2A_MSIL2A.SAFE"
    safe.mkdir()
    (safe / "MTD_MSIL2A.xml").write_text("<a/>")
    assert "is a Sentinel-2 L2A product, not a raster; make a scene of it first" in refusal(safe)
    assert "is a Sentinel-2 L2A product, not a raster; make a scene of it first" in refusal(
        safe / "MTD_MSIL2A.xml"
    )
    (tmp_path / "LC09_X_MTL.txt").write_text("GROUP = A\nEND_GROUP = A\nEND\n")
    assert "is a Landsat product, not a raster; make a scene of it first" in refusal(
        tmp_path / "LC09_X_MTL.txt"
    )
    (tmp_path / "o.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert "holds outlines" in refusal(tmp_path / "o.geojson")


def test_a_mosaic_that_lacks_a_member_names_it(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    rasterio.shutil.copy(plain(tmp_path / "a & b.tif"), inner, driver="VRT")
    rasterio.shutil.copy(inner, outer, driver="VRT")
    assert open_scene(outer).grid.shape == (HEIGHT, WIDTH)
    (tmp_path / "a & b.tif").unlink()
    with pytest.raises(RasterError, match=r"shows .*a & b\.tif, which is missing"):
        open_scene(outer)


def test_one_raster_of_several_in_a_file_is_asked_for_by_the_name_that_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "scene.nc"
    with netcdf_file(str(file), "w") as made:
        made.createDimension("x", 4)
        made.createDimension("y", 3)
        for axis, start in (("x", 480015.0), ("y", 3099985.0)):
            places = made.createVariable(axis, "d", (axis,))
            places[:] = start + 30 * np.arange(made.dimensions[axis])
            places.standard_name, places.units = f"projection_{axis}_coordinate", "m"
        crs = made.createVariable("crs", "i", ())
        crs.spatial_ref, crs.grid_mapping_name = rasterio.CRS.from_epsg(32645).to_wkt(), "transverse_mercator"
        for name in ("red", "nir"):
            made.createVariable(name, "h", ("y", "x"))[:] = 5
            made.variables[name].grid_mapping = "crs"
    message = refusal(file)
    assert "holds 2 rasters" in message
    name = message.split("'")[1]
    scene = open_scene(name)
    assert scene.grid.shape == (3, 4)
    assert scene.files == (file,)


def test_what_has_no_place_is_refused_with_a_cure_that_works(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 86.9 + c / 1e3, 28 - r / 1e3) for r in (0, 30) for c in (0, 20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gcps = plain(tmp_path / "gcp.tif", gcps=points, crs="EPSG:4326", transform=None)
        bare = plain(tmp_path / "bare.tif", transform=None)
        picture = plain(tmp_path / "bare.png", transform=None, crs=None, driver="PNG")
    message = refusal(gcps)
    assert "4 ground control points" in message
    typed(cure(message), tmp_path)
    assert open_scene(tmp_path / "WARPED.tif").grid.bounds.left == pytest.approx(86.9)
    message = refusal(bare)
    assert "has no geotransform" in message
    typed(cure(message).replace("LEFT", "500000").replace("TOP", "3100000"), tmp_path)
    assert open_scene(bare).grid.pixel_size_m == (30, 30)
    # What is no GeoTIFF is copied first, and stays as it is.
    before = picture.read_bytes()
    typed(cure(refusal(picture)).replace("LEFT", "500000").replace("TOP", "3100000"), tmp_path)
    message = refusal(tmp_path / "EDITED_bare.tif")
    assert "has no CRS" in message
    typed(cure(message), tmp_path)
    assert open_scene(tmp_path / "EDITED_bare.tif").grid.crs.to_epsg() == 32643
    assert picture.read_bytes() == before


def rational() -> RPC:
    """Rational polynomials of ground 86.75-86.85 E, 27.95-28.05 N, without relief."""
    one = [1.0] + [0.0] * 19
    column, row = [0.0, 1.0] + [0.0] * 18, [0.0, 0.0, -1.0] + [0.0] * 17
    return RPC(
        height_off=0, height_scale=500, lat_off=28, lat_scale=0.05, long_off=86.8, long_scale=0.05,
        line_off=HEIGHT / 2, line_scale=HEIGHT / 2, samp_off=WIDTH / 2, samp_scale=WIDTH / 2,
        line_num_coeff=row, line_den_coeff=one, samp_num_coeff=column, samp_den_coeff=one,
    )  # fmt: skip


def polynomial(folder: Path) -> Path:
    """A file with rational polynomials in place of a geotransform."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = plain(folder / "two words.tif", transform=None, crs=None)
        with rasterio.open(path, "r+") as dataset:
            dataset.rpcs = rational()
    return path


def test_rational_polynomials_are_refused_with_the_line_that_orthorectifies(tmp_path: Path) -> None:
    path = polynomial(tmp_path)
    message = refusal(path)
    assert "has rational polynomials" in message
    words = shlex.split(cure(message))
    assert words[:2] == ["gdalwarp", "-rpc"]
    assert words[-2:] == [str(path), "ORTHO.tif"]


@pytest.mark.skipif(shutil.which("gdalwarp") is None, reason="needs GDAL's own program gdalwarp")
def test_gdal_orthorectifies_as_the_message_says(tmp_path: Path) -> None:
    plain(tmp_path / "DEM.tif", crs="EPSG:4326", transform=from_origin(86.7, 28.1, 0.01, 0.01))
    line = shlex.split(cure(refusal(polynomial(tmp_path))))
    subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    assert open_scene(tmp_path / "ORTHO.tif").grid.bounds.left == pytest.approx(86.75, abs=0.01)


def test_a_crs_that_is_only_a_name_is_refused_and_its_code_found(tmp_path: Path) -> None:
    local = 'LOCAL_CS["WGS 84 / UTM zone 45N",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    path = plain(tmp_path / "local.tif", crs=rasterio.CRS.from_wkt(local))
    message = refusal(path)
    assert "is only a name" in message
    typed(cure(message), tmp_path)
    assert open_scene(path).grid.crs.to_epsg() == 32645


@pytest.mark.parametrize("code", ["EPSG:32645+5773", "EPSG:4326+3855", "EPSG:4979"])
def test_heights_in_a_crs_do_not_make_it_another_one(tmp_path: Path, code: str) -> None:
    flat = "EPSG:32645" if code.startswith("EPSG:32645") else "EPSG:4326"
    transform = from_origin(86, 28, 3e-4, 3e-4) if flat == "EPSG:4326" else from_origin(5e5, 3.1e6, 30, 30)
    high = plain(tmp_path / "high.tif", crs=code, transform=transform)
    with (
        open_raster(high) as one,
        open_raster(plain(tmp_path / "f.tif", crs=flat, transform=transform)) as other,
    ):
        assert grid_of(other).difference(grid_of(one)) is None


def test_bytes_that_are_not_on_the_disk_are_read_by_an_opener(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3, height=2, count=1, dtype="uint8", crs="EPSG:32643",
        transform=from_origin(700_000, 3_600_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    content = path.read_bytes()
    path.unlink()
    asked: list[str] = []

    def opener(name: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        asked.append(name)
        if name != "/nowhere/a.tif":
            raise FileNotFoundError(name)
        return io.BytesIO(content)

    with open_raster("/nowhere/a.tif", opener=opener, driver="GTiff") as dataset:
        assert dataset.read(1).tolist() == [[0, 1, 2], [3, 4, 5]]
        assert grid_of(dataset).shape == (2, 3)
    with pytest.raises(RasterError, match=r"/nowhere/b\.tif: is not a raster that GDAL can read"):
        open_raster("/nowhere/b.tif", opener=opener, driver="GTiff")
    assert "/nowhere/a.tif.aux.xml" in asked


def test_threads_that_open_files_together_leave_the_filters_of_warnings_as_they_were(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", blobs(8, 8))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for dataset in pool.map(open_raster, [path] * 16):
                dataset.close()
            assert list(warnings.filters) == before
