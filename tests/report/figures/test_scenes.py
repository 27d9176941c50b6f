"""What is drawn of any scene: where it lies, its colours, its labels."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pytest
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.crs import CRS

from glacierseg.change.files import change_between_files
from glacierseg.errors import BandError, GridMismatchError, RequestError, TruthError
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.write import write_raster
from glacierseg.report import style
from glacierseg.report.figures import write_scene_figures
from glacierseg.report.figures.maps import fill_polygons
from glacierseg.report.figures.scenes import plot_mask, plot_scene, scene_figures
from glacierseg.settings.figures import FigureInputs
from glacierseg.settings.outlines import ChangeSettings

BANDS = ["blue", "green", "red", "nir", "swir1"]
GRID = Grid(CRS.from_epsg(32645), Affine(30, 0, 480_000, 0, -30, 3_100_000), 40, 60)
DEGREES = Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 86.8, 0, -1e-4, 60.0), 40, 60)
ICE = np.s_[10:25, 20:40]
Glacierseg = Callable[..., CompletedProcess[str]]


@pytest.fixture(autouse=True)
def no_window() -> None:
    mpl.use("Agg")


def make_scene(folder: Path, grid: Grid = GRID, facts: SceneFacts | None = None) -> Scene:
    values = np.random.default_rng(0).integers(40, 255, (len(BANDS), *grid.shape)).astype(np.uint8)
    values[:, :2, :3] = 0
    tags = facts.tags if facts else {}
    write_raster(folder / "s.tif", values, grid, bands=BANDS, nodata=0, cog=False, tags=tags)
    return open_scene(folder / "s.tif")


def ice_mask(shape: tuple[int, int] = GRID.shape) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    mask[ICE] = 1
    return mask


def save_mask(path: Path, mask: NDArray[np.uint8], grid: Grid = GRID) -> Path:
    write_raster(path, mask, grid, bands=["glacier"], nodata=255, cog=False)
    return path


def box_of(grid: Grid, rows: tuple[float, float], columns: tuple[float, float]) -> Any:
    (west, north), (east, south) = (grid.transform * at for at in zip(columns, rows, strict=True))
    return shapely.box(west, south, east, north)


def contour_of(axes: Axes) -> NDArray[np.float64]:
    """Corners of the first outline that was drawn, in coordinates of the axes' data."""
    (drawn,) = (one for one in axes.collections if not isinstance(one, PathCollection))
    to_data = drawn.get_transform() - axes.transData
    found: NDArray[np.float64] = to_data.transform(np.concatenate([p.vertices for p in drawn.get_paths()]))
    return found


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_scene_lies_where_its_coordinates_say(tmp_path: Path) -> None:
    axes = plot_scene(make_scene(tmp_path))
    (image,) = axes.images
    left, bottom, right, top = GRID.bounds
    assert tuple(image.get_extent()) == (left, right, bottom, top)
    assert (*axes.get_xlim(), *axes.get_ylim()) == (left, right, bottom, top)
    assert axes.get_aspect() == pytest.approx(1)
    pixels = image.get_array()
    assert pixels is not None
    assert (pixels[..., 3] == 0).sum() == 6
    assert not pixels[:2, :3, 3].any()


def test_degrees_have_the_aspect_of_the_ground(tmp_path: Path) -> None:
    axes = plot_scene(make_scene(tmp_path, DEGREES))
    latitude = DEGREES.transform.f + DEGREES.transform.e * DEGREES.height / 2
    geod = Geod(ellps="WGS84")
    _, _, across = geod.inv(86.8, latitude, 86.801, latitude)
    _, _, along = geod.inv(86.8, latitude - 5e-4, 86.8, latitude + 5e-4)
    assert axes.get_aspect() == pytest.approx(along / across, rel=1e-4)
    assert along / across == pytest.approx(1.99, abs=0.02)
    bar = axes.patches[0].get_path().get_extents(axes.patches[0].get_transform() - axes.transData)
    label = next(text.get_text() for text in axes.texts if text.get_text().endswith("m"))
    assert geod.inv(bar.x0, latitude, bar.x1, latitude)[2] == pytest.approx(float(label[:-2]), rel=1e-3)


def test_scale_bar_is_right_after_zooming_in(tmp_path: Path) -> None:
    axes = plot_scene(make_scene(tmp_path))
    axes.set_xlim(480_300, 480_900)
    bar = axes.patches[0].get_path().get_extents(axes.patches[0].get_transform() - axes.transData)
    assert f"{bar.width:.0f} m" in [text.get_text() for text in axes.texts]


def test_grid_that_is_turned_is_drawn_turned(tmp_path: Path) -> None:
    turned = Grid(GRID.crs, GRID.transform @ Affine.rotation(30), GRID.height, GRID.width)
    scene = make_scene(tmp_path, turned)
    axes = plot_mask(scene, ice_mask())
    left, bottom, right, top = turned.bounds
    assert (*axes.get_xlim(), *axes.get_ylim()) == (left, right, bottom, top)
    image = axes.images[0]
    place = image.get_transform() - axes.transData
    at = place.transform([(7 - 0.5, 9 - 0.5)])[0]
    assert at == pytest.approx(turned.transform * (7, 9))
    corners = contour_of(axes)
    columns, rows = np.array(~turned.transform * corners.T)
    assert (columns.min(), columns.max()) == pytest.approx((20, 40), abs=1e-6)
    assert (rows.min(), rows.max()) == pytest.approx((10, 25), abs=1e-6)


def test_rows_that_run_northward_are_drawn_north_up(tmp_path: Path) -> None:
    south_up = Grid(GRID.crs, Affine(30, 0, 480_000, 0, 30, 3_100_000), *GRID.shape)
    axes = plot_mask(make_scene(tmp_path, south_up), ice_mask())
    assert axes.get_ylim() == (3_100_000, 3_101_200)
    assert tuple(axes.images[0].get_extent()) == (480_000, 481_800, 3_101_200, 3_100_000)
    assert contour_of(axes)[:, 1].min() == pytest.approx(3_100_000 + 10 * 30)


def test_bands_that_are_shown(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)

    def shown(**options: Any) -> NDArray[Any]:
        return np.asarray(plot_scene(scene, **options).images[0].get_array())[5:, 5:, :3]

    natural, swapped = shown(), shown(bands=["blue", "green", 3])
    np.testing.assert_array_equal(natural, shown(bands="natural"))
    np.testing.assert_array_equal(swapped[..., 1], natural[..., 1])
    np.testing.assert_array_equal(swapped[..., 0], natural[..., 2])
    grey = shown(bands="nir")
    assert (grey[..., 0] == grey[..., 2]).all()
    np.testing.assert_array_equal(shown(bands="false")[..., 1], grey[..., 1])
    with pytest.raises(BandError, match="one band or three, not 2"):
        plot_scene(scene, bands=["blue", "red"])
    with pytest.raises(BandError, match=r"make no natural colour; name all bands in file order"):
        plot_scene(scene.select(["nir", "red"]), bands="natural")
    with pytest.raises(BandError, match=r"did you mean 'swir1'"):
        plot_scene(scene, bands="swir")


def test_title_says_what_the_file_knows(tmp_path: Path) -> None:
    facts = SceneFacts(date(2024, 9, 30), date(2024, 10, 5), sensor="sentinel2")
    axes = plot_scene(make_scene(tmp_path, facts=facts))
    assert axes.get_title("left") == "s, Sentinel-2, 2024-09-30 to 2024-10-05, EPSG:32645"


def test_mask_is_drawn_over_what_is_there(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    axes = plot_scene(scene)
    assert plot_mask(scene, ice_mask(), axes) is axes
    assert len(axes.images) == 1
    corners = contour_of(axes)
    # Half-way between the centres of ice and ground, which is the pixels' edge.
    assert corners[:, 0].min() == pytest.approx(480_000 + 20 * 30)
    assert corners[:, 1].max() == pytest.approx(3_100_000 - 10 * 30)
    (drawn,) = axes.collections
    assert drawn.get_edgecolor()[0] == pytest.approx(to_rgba(style.BLUE))
    figure = Figure()
    assert len(plot_mask(scene, ice_mask(), figure.subplots()).images) == 1
    with pytest.raises(GridMismatchError, match=r"mask of shape \(40, 50\) does not fit"):
        plot_mask(scene, np.zeros((40, 50), np.uint8))
    with pytest.raises(TruthError, match="mask holds 7"):
        plot_mask(scene, np.full(GRID.shape, 7))


def test_outline_does_not_follow_the_end_of_the_data(tmp_path: Path) -> None:
    mask = ice_mask()
    mask[:, 30:] = 255
    corners = contour_of(plot_mask(make_scene(tmp_path), mask))
    assert corners[:, 0].max() < 480_000 + 30 * 30
    inside = np.abs(corners[:, 0] - (480_000 + 20 * 30)) > 15
    assert np.isin(np.round(corners[inside, 1]), [3_100_000 - 300, 3_100_000 - 750]).all()


def test_mask_of_another_grid_is_brought_to_the_scene(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    finer = Grid(GRID.crs, Affine(10, 0, 480_300, 0, -10, 3_100_300), 130, 150)
    mask = np.zeros(finer.shape, np.uint8)
    mask[60:105, 30:90] = 1
    corners = contour_of(plot_mask(scene, save_mask(tmp_path / "m.tif", mask, finer)))
    assert (corners[:, 0].min(), corners[:, 0].max()) == pytest.approx((480_600, 481_200))
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((3_099_250, 3_099_700), abs=15)
    away = Grid(GRID.crs, Affine(30, 0, 580_000, 0, -30, 3_100_000), *GRID.shape)
    with pytest.raises(GridMismatchError, match="does not overlap"):
        plot_mask(scene, save_mask(tmp_path / "away.tif", ice_mask(), away))


def test_large_scenes_are_shown_with_fewer_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("views", "figures.scenes"):
        monkeypatch.setattr(f"glacierseg.report.{module}.FIGURE_SIDE_PX", 30)
    scene, mask = make_scene(tmp_path), ice_mask()
    for given in (mask, save_mask(tmp_path / "m.tif", mask)):
        axes = plot_mask(scene, given)
        assert np.asarray(axes.images[0].get_array()).shape == (20, 30, 4)
        assert axes.images[0].get_extent()[1] == GRID.bounds.right
        corners = contour_of(axes)
        assert (corners[:, 0].min(), corners[:, 0].max()) == pytest.approx((480_600, 481_200), abs=30)


def test_probability_has_the_colours_of_its_scale(tmp_path: Path) -> None:
    chance = np.random.default_rng(1).random(GRID.shape).astype(np.float32)
    chance[0, 0] = np.nan
    path = tmp_path / "p.tif"
    write_raster(path, chance, GRID, bands=["probability"], nodata=float("nan"), cog=False)
    figure = dict(scene_figures(make_scene(tmp_path), FigureInputs(probability=path)))["s_probability"]
    axes, bar = figure.axes
    pixels = np.asarray(axes.images[-1].get_array())
    scale = mpl.colormaps["cividis"]
    np.testing.assert_array_equal(pixels[5:], scale(chance[5:], bytes=True))
    assert pixels[0, 0, 3] == 0
    assert bar.get_ylim() == (0, 1)
    (mesh,) = (one for one in bar.collections if one.get_array() is not None)
    assert mesh.get_cmap().name == "cividis"
    coarse = Grid(GRID.crs, GRID.transform @ Affine.scale(2), 20, 30)
    write_raster(path, chance[::2, ::2] * 0 + 0.25, coarse, bands=["p"], nodata=float("nan"), cog=False)
    figure = dict(scene_figures(make_scene(tmp_path), FigureInputs(probability=path)))["s_probability"]
    pixels = np.asarray(figure.axes[0].images[-1].get_array())
    assert (pixels[5:] == scale(np.float32(0.25), bytes=True)).all()


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    boxes = [
        box_of(GRID, (4, 10), (5, 15)),
        box_of(GRID, (15, 35), (20, 50)),
        box_of(GRID, (-100, 3), (40, 60)),
        box_of(GRID, (500, 510), (20, 30)),
        # Around a corner: its box meets the scene, and it does not.
        shapely.difference(box_of(GRID, (-30, 10), (-30, 10)), box_of(GRID, (-20, 10), (-20, 10))),
    ]
    columns = {"rgi_id": ["a", "b", "c", "far", "near"], "Name": ["Small", None, "Beyond", "", ""]}
    table = gpd.GeoDataFrame(columns, geometry=boxes, crs="EPSG:32645").to_crs(4326)
    table.to_file(tmp_path / "i.gpkg", layer="outlines")
    return tmp_path / "i.gpkg"


def test_inventory_numbers_the_largest_glaciers(tmp_path: Path, inventory: Path) -> None:
    figures = dict(scene_figures(make_scene(tmp_path), FigureInputs(inventory=inventory)))
    assert list(figures) == ["s_natural", "s_false", "s_inventory"]
    figure = figures["s_inventory"]
    axes = figure.axes[0]
    # By the whole area, of which only 3 rows lie in the picture.
    areas = [103 * 20 * 9e-4, 20 * 30 * 9e-4, 6 * 10 * 9e-4]
    said = [text.rsplit(", ", 1) for text in words_of(figure)]
    assert [name for name, _ in said] == ["c, Beyond", "b", "a, Small"]
    assert [float(area.removesuffix(" km²")) for _, area in said] == pytest.approx(areas, abs=0.01)
    numbers = {t.get_text(): t.get_position() for t in axes.texts if t.get_text().isdigit()}
    assert sorted(numbers) == ["1", "2", "3"]
    for number, rows, columns in (
        ("1", (0, 3), (40, 60)),
        ("2", (15, 35), (20, 50)),
        ("3", (4, 10), (5, 15)),
    ):
        assert box_of(GRID, rows, columns).contains(shapely.Point(numbers[number]))
    assert axes.get_title("left").endswith(
        "3 glaciers; the largest in the picture have numbers, areas include what lies beyond it"
    )
    casing, line = (one for one in axes.collections if isinstance(one, PathCollection))
    assert len(casing.get_paths()) == len(line.get_paths()) == 3
    assert line.get_edgecolor()[0] == pytest.approx(to_rgba(style.BLUE))


def test_inventory_elsewhere_or_with_several_layers_is_refused(tmp_path: Path, inventory: Path) -> None:
    gpd.read_file(inventory).to_file(inventory, layer="others")
    scene = make_scene(tmp_path)
    with pytest.raises(TruthError, match="say which with --inventory-layer"):
        next(scene_figures(scene, FigureInputs(inventory=inventory)))
    inputs = FigureInputs(inventory=inventory, inventory_layer="others")
    assert "s_inventory" in dict(scene_figures(scene, inputs))
    away = Grid(GRID.crs, Affine(30, 0, 580_000, 0, -30, 3_100_000), *GRID.shape)
    with pytest.raises(TruthError, match="no outline meets the scene"):
        next(scene_figures(make_scene(tmp_path, away), inputs))


def test_change_is_filled_in_its_colours(tmp_path: Path) -> None:
    old, new = ice_mask(), ice_mask()
    new[ICE], new[12:25, 20:44] = 0, 1
    new[:, :22] = 255
    change_between_files(
        save_mask(tmp_path / "o.tif", old), save_mask(tmp_path / "n.tif", new), tmp_path / "c" / "change.gpkg"
    )
    scene = make_scene(tmp_path)
    figure = dict(scene_figures(scene, FigureInputs(change=tmp_path / "c")))["s_change"]
    axes = figure.axes[0]
    # 18 columns of 2 rows lost, 4 of 13 gained, 18 of 13 stayed, 2 of 15 unknown at the second date.
    expected = {
        "glacier at both dates": (style.SKY, 18 * 13),
        "retreat": (style.VERMILLION, 18 * 2),
        "advance": (style.BLUE, 4 * 13),
        "not compared": (style.YELLOW, 2 * 15),
    }
    assert [text.split(": ")[0] for text in words_of(figure)] == list(expected)
    assert axes.get_title("left") == "Change of glaciers, over s, EPSG:32645"
    for text, drawn, (colour, pixels) in zip(
        words_of(figure), axes.collections, expected.values(), strict=True
    ):
        rings = [shapely.Polygon(np.asarray(path.vertices)) for path in drawn.get_paths()]
        assert sum(ring.area for ring in rings) == pytest.approx(pixels * 900)
        assert np.asarray(drawn.get_facecolor())[0, :3] == pytest.approx(to_rgba(colour)[:3])
        assert float(text.split(": ")[1].removesuffix(" km²")) == pytest.approx(pixels * 9e-4, abs=0.006)
    (image,) = axes.images
    grey = np.asarray(image.get_array())
    assert (grey[..., 0] == grey[..., 2]).all()


def test_change_beyond_the_scene_has_no_areas(tmp_path: Path) -> None:
    old, new = ice_mask(), ice_mask()
    new[10:12] = 0
    masks = save_mask(tmp_path / "o.tif", old), save_mask(tmp_path / "n.tif", new)
    days = ChangeSettings(old_date="2015-08-20", new_date="2024-09-30")
    change_between_files(*masks, tmp_path / "c.gpkg", days)
    part = make_scene(tmp_path, GRID.crop(0, 0, 20, 30))
    figure = dict(scene_figures(part, FigureInputs(change=tmp_path / "c.gpkg")))["s_change"]
    assert words_of(figure) == ["glacier at both dates", "retreat", "advance"]
    title = "Change of glaciers, 2015-08-20 to 2024-09-30, over s, EPSG:32645"
    assert figure.axes[0].get_title("left") == title
    away = Grid(GRID.crs, Affine(30, 0, 580_000, 0, -30, 3_100_000), *GRID.shape)
    with pytest.raises(GridMismatchError, match="no glacier of it lies on the scene"):
        next(scene_figures(make_scene(tmp_path, away), FigureInputs(change=tmp_path / "c.gpkg")))


def test_holes_stay_empty() -> None:
    figure = Figure(figsize=(1, 1), dpi=40)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10), ylim=(0, 10))
    # Both rings run the same way round, as files of others may have them.
    ring, hole = (shapely.box(low, low, high, high).exterior.coords for low, high in ((1, 9), (3, 7)))
    fill_polygons(axes, np.array([shapely.Polygon(ring, [hole])]), "#ff0000", 1.0)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    assert pixels[20, 20, 1] == 255
    assert pixels[8, 20, 1] == 0


def test_command_writes_all_of_a_scene(tmp_path: Path, glacierseg: Glacierseg, inventory: Path) -> None:
    make_scene(tmp_path)
    mask = save_mask(tmp_path / "m.tif", ice_mask())
    out = tmp_path / "out"
    done = glacierseg(
        "figures", "--scene", tmp_path / "s.tif", "--mask", mask, "--inventory", inventory, "--out", out,
        "--format", "svg", "--band-names", "red,green,blue,nir,swir1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["s_false.svg", "s_inventory.svg", "s_natural.svg"]
    assert "Natural colour" in (out / "s_natural.svg").read_text()
    assert "glacier</text>" in (out / "s_natural.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the folder of a run, or --scene FILE"),
        (["run", "--scene", "s.tif"], "give the folder of a run, or --scene FILE"),
        (["run", "--mask", "s.tif"], "leave --mask out, or give --scene FILE"),
        (["--scene", "s.tif", "--mask", "s.tif"], "s.tif: is a scene; a mask belongs there"),
        (["--scene", "s.tif", "--change", "i.gpkg"], "has no layer 'glaciers', so it is no change"),
        (["--scene", "s.tif", "--change", "none.gpkg"], "none.gpkg: no such file"),
        (["--scene", "none.tif"], "none.tif: no such file"),
        (
            ["--scene", "s.tif", "--probability", "m.tif"],
            "m.tif: holds whole numbers (uint8) without a scale",
        ),
        (["--scene", "s.tif", "--inventory", "m.tif"], "m.tif: is a mask; a file of outlines belongs there"),
    ],
)
def test_command_refuses(
    tmp_path: Path,
    inventory: Path,
    glacierseg: Glacierseg,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    make_scene(tmp_path)
    save_mask(tmp_path / "m.tif", ice_mask())
    monkeypatch.chdir(tmp_path)
    done = glacierseg("figures", *words, "--out", "out")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of png, svg, pdf"):
        write_scene_figures(make_scene(tmp_path), tmp_path / "out", kind="bmp")  # type: ignore[arg-type]
