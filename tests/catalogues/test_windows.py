"""Windows hold the place, the same pixels and few more bytes than their blocks, whatever the file is like."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from shapely.geometry.base import BaseGeometry

from glacierseg.catalogues import retries
from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, joined, plan_window, read_window, save_window
from glacierseg.errors import DownloadError, ProductError
from glacierseg.products.contents import Checksum
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.server import Fault, FileServer, serving
from tests.helpers import present

HEIGHT, WIDTH, BLOCK = 1000, 1200, 128
CORNER = (478_560, 3_099_000)
PIXELS = np.random.default_rng(2).integers(1100, 9000, (HEIGHT, WIDTH)).astype(np.uint16)
PIXELS[:100, :300] = 0
TILED: dict[str, Any] = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
FORMATS: dict[str, dict[str, Any]] = {
    "tiles.tif": {**TILED, "compress": "deflate"},
    "plain_tiles.tif": TILED,
    "strips.tif": {"compress": "lzw"},
    "plain_strips.tif": {},
    "big.tif": {**TILED, "compress": "deflate", "BIGTIFF": "YES"},
    "big_endian.tif": {**TILED, "compress": "deflate", "ENDIANNESS": "BIG"},
    "sparse.tif": {**TILED, "SPARSE_OK": True},
    "masked.tif": {**TILED, "compress": "deflate", "mask": True},
    "directory_behind.tif": {**TILED, "compress": "deflate", "overviews": (2, 4, 8)},
    "cog.tif": {"compress": "deflate", "blocksize": BLOCK, "driver": "COG"},
}


def write_image(path: Path, values: NDArray[Any] = PIXELS, **options: Any) -> Path:
    overviews, mask = options.pop("overviews", ()), options.pop("mask", False)
    if options.get("driver", "GTiff") != "GTiff":
        rasterio.shutil.copy(write_image(path.with_name("source.tif"), values), path, **options)
        path.with_name("source.tif").unlink()
        return path
    profile = {
        "driver": "GTiff",
        "height": len(values),
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
        "crs": "EPSG:32645",
        "transform": from_origin(*CORNER, 10, 10),
        "nodata": 0,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **(profile | options)) as file:
        file.write(values, 1)
        if mask:
            file.write_mask(values > 2000)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(overviews, Resampling.average)
    return path


def place(left: float, top: float, right: float, bottom: float, crs: int = 32645) -> BaseGeometry:
    """The polygon in degrees of some pixels of the image."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    way = Transformer.from_crs(crs, 4326, always_xy=True)
    return shapely.Polygon([way.transform(CORNER[0] + 10 * x, CORNER[1] - 10 * y) for x, y in corners])


PLACE = place(505.3, 395.2, 803.6, 640.9)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


def cut(values: NDArray[Any], window: Window) -> NDArray[Any]:
    return values[window.row :, window.column :][: window.grid.height, : window.grid.width]


def bytes_of_blocks(path: Path, window: Window) -> int:
    """How many bytes the blocks of a window have, as another library reads the file."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, WIDTH)
        across = -(-WIDTH // width)
        sizes = np.array(page.databytecounts)
    rows = range(window.row // height, (window.row + window.grid.height - 1) // height + 1)
    columns = range(window.column // width, (window.column + window.grid.width - 1) // width + 1)
    return sum(int(sizes[row * across + column]) for row in rows for column in columns)


@pytest.mark.parametrize("name", FORMATS)
def test_windows_are_the_pixels_and_few_more_bytes_than_their_blocks(
    name: str, tmp_path: Path, server: FileServer, web: Web
) -> None:
    path = write_image(tmp_path / name, **FORMATS[name])
    window = present(plan_window(web, Asset(server.address(name)), PLACE))
    header = server.bytes_sent
    assert header <= 2**16
    came: list[int] = []
    assert (read_window(web, window, came.append) == cut(PIXELS, window)).all()
    needed = bytes_of_blocks(path, window)
    assert 0 < needed <= 0.75 * path.stat().st_size
    assert server.bytes_sent - header == window.bytes_needed == sum(came) <= 1.3 * needed
    assert web.bytes_read == server.bytes_sent
    # Neither side-cars nor anything else is asked for.
    assert {one.path for one in server.asked} == {f"/{name}"}


@pytest.mark.parametrize("name", ["directory_behind.tif", "cog.tif"])
def test_coarser_windows_are_those_of_the_nearest_overview(
    name: str, tmp_path: Path, server: FileServer, web: Web
) -> None:
    path = write_image(tmp_path / name, **FORMATS[name])
    with rasterio.open(path) as dataset:
        factors = dataset.overviews(1)
    for coarser, factor in ((1, 1), (1.9, 2), (3, 4), (4, 4), (100, factors[-1])):
        window = present(plan_window(web, Asset(server.address(name)), PLACE, coarser=coarser))
        assert window.overview == (None if factor == 1 else factors.index(factor))
        assert window.grid.transform.a == pytest.approx(10 * factor, rel=0.01)
        options = {} if factor == 1 else {"overview_level": factors.index(factor)}
        with rasterio.open(path, **options) as dataset:
            assert (read_window(web, window) == cut(dataset.read(1), window)).all()
    server.mend()
    fine, coarse = (
        present(plan_window(web, Asset(server.address(name)), PLACE, coarser=factor)) for factor in (1, 4)
    )
    assert coarse.bytes_needed < fine.bytes_needed / 2


@given(
    st.tuples(st.floats(-50, 900), st.floats(-50, 900)),
    st.tuples(st.floats(5, 300), st.floats(5, 300)),
    st.sampled_from([1, 3, 6]),
)
def test_windows_hold_the_place_with_a_margin_and_snap(
    corner: tuple[float, float], size: tuple[float, float], step_px: int
) -> None:
    shape = place(corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    found = plan_window(LOCAL, LOCAL_ASSET, shape, step_px=step_px)
    ends = [corner[axis] + size[axis] for axis in (0, 1)]
    if min(ends) < 0.5:
        assert found is None or min(ends) > -0.5
        return
    window = present(found)
    first = window.column, window.row
    last = window.column + window.grid.width, window.row + window.grid.height
    assert all(number % step_px == 0 for number in first)
    for axis, limit in enumerate((WIDTH, HEIGHT)):
        low, high = corner[axis], corner[axis] + size[axis]
        assert last[axis] == limit or last[axis] % step_px == 0
        # A side of the place is a straight line in degrees, and bends by less than a pixel here.
        assert max(low - 3 - step_px, 0) - 1 <= first[axis] <= max(low - 1, 0)
        assert min(high + 1, limit) <= last[axis] <= min(high + 4 + step_px, limit)
    x, y = window.grid.transform * (0, 0)
    assert (x - CORNER[0], CORNER[1] - y) == (10 * window.column, 10 * window.row)


@pytest.fixture(scope="module", autouse=True)
def _local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One image for many examples."""
    global LOCAL, LOCAL_ASSET  # noqa: PLW0603
    folder = tmp_path_factory.mktemp("local")
    LOCAL = Web(cache=Cache(folder, 0))
    LOCAL_ASSET = Asset(str(write_image(folder / "a.tif")))
    yield
    LOCAL.close()


LOCAL: Web
LOCAL_ASSET: Asset


def test_sides_of_a_place_that_bend_are_held(web: Web, tmp_path: Path) -> None:
    corner = 440_000, 5_000_000
    path = write_image(tmp_path / "a.tif", crs="EPSG:32633", transform=from_origin(*corner, 100, 100))
    shape = shapely.box(5, 44.5, 25, 44.8)
    window = present(plan_window(web, Asset(str(path)), shape))
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    way = Transformer.from_crs(32633, 4326, always_xy=True)
    _, latitudes = way.transform(corner[0] + 100 * columns, corner[1] - 100 * rows)
    (inside,) = np.nonzero(((latitudes >= 44.5) & (latitudes <= 44.8)).any(axis=1))
    assert inside[0] - 4 <= window.row <= inside[0] - 1
    assert inside[-1] + 2 <= window.row + window.grid.height <= inside[-1] + 5
    assert (window.column, window.grid.width) == (0, WIDTH)


def test_places_beside_the_image_need_nothing(web: Web, tmp_path: Path, server: FileServer) -> None:
    write_image(tmp_path / "a.tif", **TILED)
    asset = Asset(server.address("a.tif"))
    assert plan_window(web, asset, place(-90, 10, -2, 50)) is None
    assert plan_window(web, asset, shapely.box(-86.9, 27.9, -86.8, 28.0)) is None
    # Two places beside the image, on either side of it, have it between them.
    beside = shapely.union_all([place(-90, 10, -2, 50), place(WIDTH + 2, 500, WIDTH + 50, 600)])
    assert plan_window(web, asset, beside) is None


@pytest.mark.parametrize(
    ("west", "shape"),
    [
        (179.5, shapely.box(179.8, 10.2, 180.3, 10.6)),
        (179.5, shapely.union(shapely.box(179.8, 10.2, 180, 10.6), shapely.box(-180, 10.2, -179.7, 10.6))),
        (-180.5, shapely.box(179.8, 10.2, 180.3, 10.6)),
        (359.5, shapely.box(-0.2, 10.2, 0.3, 10.6)),
    ],
)  # fmt: skip
def test_places_across_180_degrees_are_found(
    west: float, shape: BaseGeometry, web: Web, tmp_path: Path
) -> None:
    transform = from_origin(west, 11, 0.001, 0.001)
    path = write_image(tmp_path / "a.tif", crs="EPSG:4326", transform=transform)
    window = present(plan_window(web, Asset(str(path)), shape))
    assert (window.column, window.grid.width) == (298, 504)
    assert (window.row, window.grid.height) == (398, 404)


def test_places_across_180_degrees_are_found_in_a_projection(web: Web, tmp_path: Path) -> None:
    transform = from_origin(166_000, 1_200_000, 10, 10)
    path = write_image(tmp_path / "a.tif", crs="EPSG:32601", transform=transform)
    way = Transformer.from_crs(32601, 4326, always_xy=True)
    west, north = way.transform(168_000, 1_198_000)
    east, south = way.transform(172_000, 1_194_000)
    assert west < -179.9 or west > 179.9
    there = shapely.box(west - 360 * (west > 0), south, east - 360 * (east > 0), north)
    boxes = [plan_window(web, Asset(str(path)), shapely.affinity.translate(there, turn)) for turn in (0, 360)]
    assert boxes[0] == boxes[1]
    assert 190 < present(boxes[0]).column < 200


def test_blocks_that_the_file_leaves_out_cost_nothing(tmp_path: Path, server: FileServer, web: Web) -> None:
    values = PIXELS.copy()
    values[384:640, 512:] = 0
    write_image(tmp_path / "a.tif", values, SPARSE_OK=True, **TILED)
    window = present(plan_window(web, Asset(server.address("a.tif")), place(530, 400, 800, 600)))
    assert window.bytes_needed == 0
    before = server.bytes_sent
    assert not read_window(web, window).any()
    assert server.bytes_sent == before


def test_files_of_which_most_is_needed_are_read_whole_and_checked(
    tmp_path: Path, server: FileServer, web: Web
) -> None:
    path = write_image(tmp_path / "a.tif", compress="deflate", **TILED)
    right = Checksum("sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    whole = place(10, 10, WIDTH - 10, HEIGHT - 10)
    asset = Asset(server.address("a.tif"), checksum=right)
    window = present(plan_window(web, asset, whole))
    assert window.checked
    assert window.parts == ((0, path.stat().st_size),)
    assert (read_window(web, window) == cut(PIXELS, window)).all()
    assert not present(plan_window(web, asset, PLACE)).checked
    for address in (str(path), path.as_uri()):
        assert present(plan_window(web, Asset(address, checksum=right), PLACE)).checked
    wrong = Checksum("sha256", "0" * 64)
    for asset, shape in (
        (Asset(server.address("a.tif"), None, wrong), whole),
        (Asset(str(path), None, wrong), PLACE),
    ):
        window = present(plan_window(web, asset, shape))
        with pytest.raises(DownloadError, match=r"a\.tif: has the sha256 checksum [0-9a-f]{64}, and"):
            read_window(web, window)


def test_jpeg_2000_is_read_whole(tmp_path: Path, server: FileServer, web: Web) -> None:
    path = write_image(tmp_path / "a.jp2", driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    window = present(plan_window(web, Asset(server.address("a.jp2")), PLACE))
    assert window.bytes_needed <= path.stat().st_size
    assert (read_window(web, window) == cut(PIXELS, window)).all()
    assert server.bytes_sent == path.stat().st_size
    local = present(plan_window(web, Asset(str(path)), PLACE))
    assert (read_window(web, local) == cut(PIXELS, window)).all()
    asset = Asset(server.address("a.jp2"), checksum=Checksum("md5", "0"))
    with pytest.raises(DownloadError, match="md5 checksum"):
        read_window(web, present(plan_window(web, asset, PLACE)))


def test_side_cars_are_not_believed(tmp_path: Path, server: FileServer, web: Web) -> None:
    path = write_image(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        file.nodata = None
    aux = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    Path(f"{path}.aux.xml").write_text(aux, encoding="utf-8")
    with rasterio.open(path) as file:
        assert file.nodata == 7
    for address in (str(path), server.address("a.tif")):
        assert present(plan_window(web, Asset(address), PLACE)).nodata is None


@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("options", [TILED, {**TILED, "compress": "deflate"}, {}], ids=str)
def test_a_file_that_is_cut_short_is_refused(
    options: dict[str, Any], keep: float, tmp_path: Path, server: FileServer, web: Web
) -> None:
    path = write_image(tmp_path / "a.tif", **options)
    content = path.read_bytes()
    path.write_bytes(content[: round(keep * len(content))])
    for address in (str(path), server.address("a.tif")):
        with pytest.raises(
            ProductError, match=r"a\.tif: is cut short: it has \d+ bytes, and its blocks reach to"
        ):
            plan_window(web, Asset(address), place(10, 10, WIDTH - 10, HEIGHT - 10))


def test_a_damaged_block_is_refused(tmp_path: Path, server: FileServer, web: Web) -> None:
    path = write_image(tmp_path / "a.tif", compress="deflate", **TILED)
    content = bytearray(path.read_bytes())
    content[400_000:1_200_000] = bytes(800_000)
    path.write_bytes(content)
    for address in (str(path), server.address("a.tif")):
        window = present(plan_window(web, Asset(address), PLACE))
        with pytest.raises(ProductError, match=r"a\.tif: is damaged or no whole image; choose another"):
            read_window(web, window)


def test_what_is_no_image_of_one_band_with_a_place_is_refused(tmp_path: Path, web: Web) -> None:
    shape = {"driver": "GTiff", "width": 9, "height": 9, "count": 3, "dtype": "uint8"}
    where = {"crs": "EPSG:32645", "transform": from_origin(*CORNER, 10, 10)}
    rasterio.open(tmp_path / "three.tif", "w", **shape, **where).close()
    write_image(tmp_path / "nowhere.tif", crs=None)
    with pytest.raises(ProductError, match=r"three\.tif: holds 3 bands, and an image of a product holds one"):
        plan_window(web, Asset(str(tmp_path / "three.tif")), PLACE)
    with pytest.raises(ProductError, match=r"nowhere\.tif: has no place on Earth"):
        plan_window(web, Asset(str(tmp_path / "nowhere.tif")), PLACE)


def test_written_windows_have_the_same_bytes_and_everything_of_the_image(
    tmp_path: Path, server: FileServer, web: Web
) -> None:
    write_image(tmp_path / "a.tif", compress="deflate", **TILED)
    window = present(plan_window(web, Asset(server.address("a.tif")), PLACE, step_px=6))
    for name in ("one.tif", "two.tif"):
        save_window(web, window, tmp_path / "out" / name)
    assert (tmp_path / "out/one.tif").read_bytes() == (tmp_path / "out/two.tif").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.tif", "two.tif"]
    with rasterio.open(tmp_path / "out/one.tif") as file:
        assert (file.read(1) == cut(PIXELS, window)).all()
        assert (file.nodata, file.dtypes, file.crs.to_epsg()) == (0, ("uint16",), 32645)
        assert file.transform == window.grid.transform


@pytest.mark.parametrize("add", [1000, 60_000])
def test_an_offset_is_added_to_all_numbers_but_those_of_no_data(tmp_path: Path, web: Web, add: int) -> None:
    path = write_image(tmp_path / "a.tif")
    window = present(plan_window(web, Asset(str(path)), place(50, 20, 600, 300)))
    before = cut(PIXELS, window).astype(int)
    assert (before == 0).any()
    save_window(web, replace(window, add=add), tmp_path / "out.tif")
    # What has no place lay below 0 once, and ran over.
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.read(1) == np.where((before == 0) | (before + add > 65_535), 0, before + add)).all()


def test_nothing_is_written_of_a_window_that_cannot_be_read(tmp_path: Path, server: FileServer) -> None:
    write_image(tmp_path / "a.tif", **TILED)
    with Web(FetchSettings(retries=1), cache=Cache(tmp_path / "cache", 1)) as web:
        window = present(plan_window(web, Asset(server.address("a.tif")), PLACE))
        server.fail("a.tif", Fault(times=None, cut_after=70_000, reset=True))
        with pytest.raises(
            DownloadError, match=r"2 times in a row; run the same command again, which continues"
        ):
            save_window(web, window, tmp_path / "out/window.tif")
        assert list((tmp_path / "out").iterdir()) == []
        server.mend()
        save_window(web, window, tmp_path / "out/window.tif")
        with rasterio.open(tmp_path / "out/window.tif") as file:
            assert (file.read(1) == cut(PIXELS, window)).all()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_windows_are_right_in_the_end(
    seed: int, tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.001)
    rng = np.random.default_rng(seed)
    write_image(tmp_path / "a.tif", **(TILED if seed % 2 else FORMATS["directory_behind.tif"]))
    kinds: list[dict[str, Any]] = [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"shift": 3},
        {"headers": {"Content-Range": ""}},
        {"cut_after": int(rng.integers(0, 100_000))},
        {"cut_after": int(rng.integers(0, 100_000)), "reset": True},
        {"times": 0},
    ]
    for kind in rng.choice(kinds, 40):  # type: ignore[arg-type]
        server.fail("a.tif", Fault(**kind))
    with Web(FetchSettings(retries=40), cache=Cache(tmp_path / "cache", 0)) as web:
        window = present(plan_window(web, Asset(server.address("a.tif")), PLACE))
        assert (read_window(web, window) == cut(PIXELS, window)).all()


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Callable[[], Web]]:
    webs = []

    def begin() -> Web:
        webs.append(Web(cache=Cache(tmp_path / "cache", 1)))
        return webs[-1]

    yield begin
    for one in webs:
        one.close()


def test_what_was_read_is_taken_from_the_cache(
    tmp_path: Path, server: FileServer, cached: Callable[[], Web]
) -> None:
    write_image(tmp_path / "a.tif", compress="deflate", **TILED)
    asset, first, second = Asset(server.address("a.tif")), cached(), cached()
    window = present(plan_window(first, asset, PLACE))
    save_window(first, window, tmp_path / "one.tif")
    server.mend()
    signed = present(plan_window(second, replace(asset, address=f"{asset.address}?sig=secret"), PLACE))
    header, came = server.bytes_sent, list[int]()
    save_window(second, signed, tmp_path / "two.tif", progress=came.append)
    assert (read_window(second, signed) == cut(PIXELS, window)).all()
    save_window(second, replace(signed, add=5), tmp_path / "more.tif")
    assert server.bytes_sent == header
    assert came == [window.bytes_needed]
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()
    with rasterio.open(tmp_path / "more.tif") as file:
        assert (file.read(1) == np.where(cut(PIXELS, window) == 0, 0, cut(PIXELS, window) + 5)).all()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache/keys").iterdir())
    assert b"secret" not in kept


def test_other_windows_and_versions_are_read_anew(
    tmp_path: Path, server: FileServer, cached: Callable[[], Web]
) -> None:
    asset = Asset(server.address("a.tif"))
    write_image(tmp_path / "a.tif", **TILED)
    web = cached()
    for shape in (PLACE, place(505, 395, 700, 600)):
        window = present(plan_window(web, asset, shape))
        assert (read_window(web, window) == cut(PIXELS, window)).all()
    write_image(tmp_path / "a.tif", PIXELS[::-1].copy(), **TILED)
    window = present(plan_window(cached(), asset, PLACE))
    assert (read_window(cached(), window) == cut(PIXELS[::-1], window)).all()


def test_files_that_only_the_query_tells_apart_are_not_taken_for_each_other(
    tmp_path: Path, server: FileServer, cached: Callable[[], Web]
) -> None:
    write_image(tmp_path / "file", **TILED)
    server.fail("file", Fault(None, headers={"ETag": ""}))
    web = cached()
    one, other = (Asset(server.address(f"file?name={name}.tif")) for name in ("a", "b"))
    assert (read_window(web, window := present(plan_window(web, one, PLACE))) == cut(PIXELS, window)).all()
    # Of the same second and size.
    write_image(tmp_path / "file", PIXELS[::-1].copy(), **TILED)
    window = present(plan_window(web, other, PLACE))
    assert (read_window(web, window) == cut(PIXELS[::-1], window)).all()


def test_files_of_which_no_version_is_known_are_read_anew(
    tmp_path: Path, server: FileServer, cached: Callable[[], Web]
) -> None:
    asset = Asset(server.address("a.tif"))
    server.fail("a.tif", Fault(None, headers={"ETag": "", "Last-Modified": ""}))
    for pixels in (PIXELS, PIXELS[::-1].copy()):
        write_image(tmp_path / "a.tif", pixels, **TILED)
        web = cached()
        window = present(plan_window(web, asset, PLACE))
        assert (read_window(web, window) == cut(pixels, window)).all()
        save_window(web, window, tmp_path / "window.tif")
        with rasterio.open(tmp_path / "window.tif") as file:
            assert (file.read(1) == cut(pixels, window)).all()


def test_a_window_of_a_file_that_was_replaced_meanwhile_is_refused(
    tmp_path: Path, server: FileServer, cached: Callable[[], Web]
) -> None:
    write_image(tmp_path / "a.tif", **TILED)
    window = present(plan_window(cached(), Asset(server.address("a.tif")), PLACE))
    write_image(tmp_path / "a.tif", PIXELS[::-1].copy(), **TILED)
    with pytest.raises(ProductError, match="was replaced while it was read; run the command again"):
        read_window(cached(), window)


def test_windows_of_one_file_may_be_read_at_once(tmp_path: Path, server: FileServer, web: Web) -> None:
    write_image(tmp_path / "a.tif", compress="deflate", **TILED)
    asset = Asset(server.address("a.tif"))
    shapes = [place(x, 300, x + 150, 500) for x in range(0, 1000, 200)]
    windows = web.at_once([partial(plan_window, web, asset, shape) for shape in shapes])
    read = web.at_once([partial(read_window, web, present(window)) for window in windows])
    outs = [tmp_path / f"{number}.tif" for number in range(len(shapes))]
    web.at_once(
        [partial(save_window, web, present(one), out) for one, out in zip(windows, outs, strict=True)]
    )
    for out, values in zip(outs, read, strict=True):
        with rasterio.open(out) as file:
            assert (file.read(1) == values).all()
    for values, window in zip(read, windows, strict=True):
        assert (values == cut(PIXELS, present(window))).all()


def test_windows_of_a_folder_are_not_kept_twice(tmp_path: Path, cached: Callable[[], Web]) -> None:
    web = cached()
    window = present(plan_window(web, Asset(str(write_image(tmp_path / "a.tif"))), PLACE))
    assert window.bytes_needed == 0
    assert (read_window(web, window) == cut(PIXELS, window)).all()
    assert not web.cache.folder.exists()


@given(st.lists(st.tuples(st.integers(0, 500_000), st.integers(1, 400)), max_size=30))
def test_joined_parts_hold_all_blocks_and_little_else(blocks: list[tuple[int, int]]) -> None:
    parts = joined(blocks)
    held = np.zeros(500_500, bool)
    for at, size in parts:
        assert not held[at : at + size].any()
        held[at : at + size] = True
    needed = np.zeros_like(held)
    for at, size in blocks:
        assert held[at : at + size].all()
        needed[max(at - 4, 0) : at + size + 4] = True
    assert needed.sum() <= held.sum() <= 1.1 * needed.sum()
    assert list(parts) == sorted(parts)


def test_blocks_that_lie_near_are_read_in_one_request() -> None:
    assert joined([(0, 1000), (1050, 1000), (9000, 500), (2100, 10)]) == ((0, 2114), (8996, 508))
