import re
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from scipy.ndimage import distance_transform_edt
from typer.testing import CliRunner

from glacierseg.cli import app
from glacierseg.errors import GlaciersegError, RasterError, RequestError, TruthError
from glacierseg.inventory.files import make_inventory
from glacierseg.predict.calibration import GlacierClass, store_calibration
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import InventoryInputs, InventorySettings, VectorizeSettings
from glacierseg.vectors.polygons import vectorize_mask
from tests.helpers import present
from tests.inventory.ground import grid_of, two_valleys, write_dem, write_mask
from tests.weights.shelves import calibration, model_folder


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    elevation, mask, ridge = two_valleys()
    mask[5:9, 5:9] = 1
    mask[30, 5] = 1  # too small
    grid = grid_of(*mask.shape)
    write_dem(tmp_path / "dem.tif", elevation, grid)
    write_mask(tmp_path / "mask.tif", mask, grid)
    chance = np.where(mask == 1, 0.9, 0.1).astype(np.float32)
    chance[:ridge][mask[:ridge] == 1] = 0.7
    write_raster(tmp_path / "chance.tif", chance, grid, bands=["p"], nodata=None, cog=False)
    return tmp_path


def thirds(folder: Path) -> Path:
    """An inventory in degrees that divides the body from north to south into three, and knows no other."""
    grid = grid_of(120, 80)
    shapes = []
    for left, right in ((20, 30), (32, 50), (50, 80)):
        west, north = grid.transform * (left, 0)
        east, south = grid.transform * (right, 120)
        shapes.append(shapely.box(west, south, east, north))
    table = gpd.GeoDataFrame({"rgi_id": ["A", "B", "C"]}, geometry=shapes, crs=32645).to_crs(4326)
    table.to_file(folder / "old.geojson")
    return folder / "old.geojson"


def check_pieces(glaciers: gpd.GeoDataFrame, body_km2: float | np.float64) -> None:
    shapes = glaciers.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert glaciers["inv_id"].is_unique
    for k, shape in enumerate(shapes):
        assert shapely.area(shapely.intersection(shape, shapes[k + 1 :])).sum() < 1e-3
    assert glaciers["area_km2"].sum() == pytest.approx(body_km2, rel=1e-3)


def test_terrain_divides_a_mask_and_everything_is_told(ground: Path) -> None:
    made = make_inventory(
        ground / "mask.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(dem=(ground / "dem.tif",), probability=ground / "chance.tif"),
        settings=InventorySettings(prefix="t"),
    )
    glaciers = gpd.read_file(made.path, layer="glaciers")
    assert made.bodies == 3
    assert glaciers["divides"].tolist() == ["terrain", "terrain", "none"]
    pixel_km2 = 0.0009 / 0.9996**2  # on the ellipsoid, at the central meridian about
    check_pieces(glaciers, (90 * 40 + 16) * pixel_km2)
    north, south = (glaciers.sort_values("cenlat", ascending=False).iloc[k] for k in (1, 2))
    assert (north["aspect_dir"], south["aspect_dir"]) == ("N", "S")
    assert north["probability_mean"] == pytest.approx(0.7, abs=0.01)
    assert south["probability_mean"] == pytest.approx(0.9, abs=0.01)
    assert south["probability_std"] < 0.05
    assert (glaciers["uncertainty_pct"] > 0).all()
    # A ridge 12 m a pixel high on either side of 45 rows, in a trough.
    assert north["zmax_m"] - north["zmin_m"] == pytest.approx(44 * 12 + 0.15 * 19.5**2, abs=8)
    bands = gpd.read_file(made.path, layer="hypsometry")
    assert bands.groupby("inv_id")["permille"].sum().eq(1000).all()
    assert glaciers["inv_id"].str.fullmatch(r"t-G\d{6}E\d{5}N").all()
    facts = pyogrio.read_info(made.path, layer="glaciers")["layer_metadata"]
    assert facts["divides_used"] == "none, terrain"
    assert facts["elevation_model"] == "dem.tif"


def test_glaciers_at_the_rim_are_marked(ground: Path) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[:10, 10:20] = mask[20:30, 20:30] = mask[40:50, -8:] = 1
    write_mask(ground / "rim.tif", mask, grid_of(60, 60))
    made = make_inventory(ground / "rim.tif", ground / "out.gpkg")
    assert made.glaciers.set_index("cenlon")["at_rim"].sort_index().tolist() == [True, False, True]
    assert any("2 glaciers reach the rim" in note for note in made.notes)


def test_glaciers_that_missing_data_cut_are_marked(ground: Path) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:20, 10:20] = mask[20:30, 40:50] = 1
    mask[40:50, 30:40] = 1
    mask[:, 20:25] = mask[44:46, 34:36] = 255
    write_mask(ground / "cut.tif", mask, grid_of(60, 60))
    made = make_inventory(ground / "cut.tif", ground / "out.gpkg", InventorySettings(min_area_km2=0))
    stored = gpd.read_file(made.path, layer="glaciers").sort_values("cenlat", ascending=False)
    assert stored["observed_share"].tolist() == pytest.approx([0.75, 1, 40 / 48], abs=0.02)
    assert stored["observed_share"].iloc[1] == 1
    assert not stored["at_rim"].any()
    assert any("2 glaciers are partly without data" in note for note in made.notes)
    outlines = make_inventory(made.path, ground / "again.gpkg", InventorySettings(min_area_km2=0)).glaciers
    assert outlines["observed_share"].isna().all()


def test_masks_in_degrees_and_probability_in_eight_bits(ground: Path) -> None:
    elevation, mask, _ = two_valleys()
    grid = Grid(CRS.from_epsg(4326), Affine(0.0003, 0, 86.8, 0, -0.00027, 28.0), *mask.shape)
    write_mask(ground / "degrees.tif", mask, grid)
    write_dem(ground / "degrees_dem.tif", elevation, grid)
    levels = np.where(mask == 1, 200, 255).astype(np.uint8)
    with rasterio.open(
        ground / "levels.tif", "w", driver="GTiff", height=grid.height, width=grid.width, count=1,
        dtype="uint8", crs=grid.crs, transform=grid.transform, nodata=255,
    ) as target:  # fmt: skip
        target.write(levels, 1)
        target.scales = (1 / 250,)
    made = make_inventory(
        ground / "degrees.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(dem=(ground / "degrees_dem.tif",), probability=ground / "levels.tif"),
    )
    assert made.glaciers["divides"].tolist() == ["terrain", "terrain"]
    expected = mask.sum() * grid.pixel_area_km2
    check_pieces(made.glaciers, expected)
    np.testing.assert_allclose(made.glaciers["probability_mean"], 0.8)
    assert made.glaciers["utm_zone"].tolist() == ["45N", "45N"]
    assert set(made.glaciers["aspect_dir"]) == {"N", "S"}


def test_tiles_of_an_elevation_model_are_as_good_as_the_whole(ground: Path) -> None:
    elevation, mask, _ = two_valleys()
    grid = grid_of(*mask.shape)
    tiles = [
        write_dem(ground / f"{left}.tif", elevation[:, left:right], grid.crop(0, left, 120, right - left))
        for left, right in ((0, 45), (45, 80))
    ]

    def with_dem(name: str, *dem: Path) -> gpd.GeoDataFrame:
        return make_inventory(ground / "mask.tif", ground / name, inputs=InventoryInputs(dem=dem)).glaciers

    whole = with_dem("whole.gpkg", ground / "dem.tif")
    tiled = with_dem("tiled.gpkg", *tiles)
    assert tiled.equals(whole)
    # Half of the model is half of the ground.
    half = with_dem("half.gpkg", tiles[0])
    assert (half["dem_share"] < 1).any()


def test_the_same_again_has_the_same_ids(ground: Path) -> None:
    tables = [
        make_inventory(
            ground / "mask.tif", ground / f"{k}.gpkg", inputs=InventoryInputs(dem=(ground / "dem.tif",))
        ).glaciers
        for k in (1, 2)
    ]
    assert tables[0].equals(tables[1])


def test_divides_of_another_inventory_are_taken_over(ground: Path) -> None:
    old = thirds(ground)
    made = make_inventory(
        ground / "mask.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(existing=old),
        settings=InventorySettings(divides="existing"),
    )
    check_pieces(made.glaciers, (90 * 40 + 16) * 0.0009 / 0.9996**2)
    assert sorted(made.glaciers["divides"]) == ["existing"] * 3 + ["none"]
    best = present(made.links).sort_values("share_of_ours").groupby("inv_id").tail(1)
    assert sorted(best["existing_id"]) == ["A", "B", "C"]
    assert (best["share_of_ours"] > 0.85).all()
    # The gap between A and B, two columns wide, goes to the nearer.
    widths = made.glaciers.bounds.eval("maxx - minx").sort_values().to_numpy() / 30
    assert widths[1] == pytest.approx(10, abs=1.5) or widths[0] == pytest.approx(4, abs=1.5)
    tables = dict(pyogrio.list_layers(made.path))
    assert tables["links"] is None


def test_the_layer_of_another_inventory_can_be_named(ground: Path) -> None:
    table = gpd.read_file(thirds(ground))
    for name, rows in (("some", table[:1]), ("all", table)):
        rows.to_file(ground / "two.gpkg", layer=name)
    links = make_inventory(
        ground / "mask.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(existing=ground / "two.gpkg", existing_layer="all"),
    ).links
    assert set(present(links)["existing_id"]) == {"A", "B", "C"}


def test_auto_takes_the_inventory_where_it_knows_the_ice_else_terrain(ground: Path) -> None:
    old = thirds(ground)
    both = make_inventory(
        ground / "mask.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(existing=old, dem=(ground / "dem.tif",)),
    )
    assert set(both.glaciers["divides"]) == {"existing", "none"}
    gpd.read_file(old).to_crs(32645).translate(50_000).to_file(ground / "far.gpkg")
    far = make_inventory(
        ground / "mask.tif",
        ground / "out.gpkg",
        inputs=InventoryInputs(existing=ground / "far.gpkg", dem=(ground / "dem.tif",)),
    )
    assert set(far.glaciers["divides"]) == {"terrain", "none"}
    assert present(far.links).empty
    assert any("no glacier of it meets ours" in note for note in far.notes)


def test_glaciers_have_bounds_by_the_calibration_of_their_probability(ground: Path) -> None:
    known = calibration(glaciers=(GlacierClass(0.0, -1.0, 2.0, 9, 9), GlacierClass(0.5, -0.5, 0.25, 9, 9)))
    inputs = InventoryInputs(probability=ground / "chance.tif", dem=(ground / "dem.tif",))
    made = make_inventory(ground / "mask.tif", ground / "out.gpkg", inputs=inputs, calibration=known)
    table = made.glaciers
    with rasterio.open(ground / "chance.tif") as file:
        chance, pixel_km2 = known.apply(file.read(1)).astype(float), grid_of(120, 80).pixel_area_km2
    with rasterio.open(ground / "mask.tif") as file:
        mask = file.read(1)
    # The small body lies by itself; 100 m are three pixels and a third.
    body = np.zeros(mask.shape, bool)
    body[5:9, 5:9] = True
    assert (mask[body] == 1).all()
    near = distance_transform_edt(~body) <= 100 / 30
    p = chance[near]
    expected, variance = p.sum() * pixel_km2, (p * (1 - p)).sum() * pixel_km2
    small = table[table["area_km2"] < 0.1].iloc[0]
    assert small["area_lower_km2"] == pytest.approx(max(expected - variance, 0), rel=0.1)
    assert small["area_upper_km2"] == pytest.approx(expected + 2 * variance, rel=0.1)
    large = table[table["area_km2"] >= 0.5]
    assert len(large) == 2
    assert (large["area_lower_km2"] < large["area_upper_km2"]).all()
    # Ground between two glaciers belongs to one of them.
    assert large["area_upper_km2"].sum() < pixel_km2 * mask.size
    assert (
        pyogrio.read_info(made.path, layer="glaciers")["dataset_metadata"]["area_bounds_confidence"] == "0.9"
    )
    without = make_inventory(ground / "mask.tif", ground / "n.gpkg", inputs=inputs, calibration=calibration())
    assert "area_lower_km2" not in without.glaciers
    assert any("no bounds of single glaciers: at 90%" in note for note in without.notes)
    with pytest.raises(RequestError, match="give --probability"):
        make_inventory(
            ground / "mask.tif", ground / "x.gpkg", inputs=InventoryInputs(weights="alps-sentinel2")
        )


def test_the_command_takes_the_calibration_of_a_model_and_tells_the_area_of_all(ground: Path) -> None:
    words = ["inventory", ground / "mask.tif", "--out", ground / "out.gpkg", "--model", ground / "model"]
    words += ["--probability", ground / "chance.tif"]
    model_folder(ground / "model")
    refused = CliRunner().invoke(app, list(map(str, words)))
    assert refused.exit_code == 1
    assert "has no calibration, and bounds need one" in str(refused.exception or refused.output)
    store_calibration(ground / "model", calibration(glaciers=(GlacierClass(0.0, -1.0, 2.0, 9, 9),)))
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    assert re.search(r"glacier area \S+ km2, \S+ to \S+ km2 with 90% confidence", done.output)
    glaciers = gpd.read_file(ground / "out.gpkg", layer="glaciers")
    assert (glaciers["area_lower_km2"] < glaciers["area_upper_km2"]).all()


def test_outlines_in_degrees_are_divided_too(ground: Path) -> None:
    vectorize_mask(ground / "mask.tif", ground / "outlines.gpkg")
    gpd.read_file(ground / "outlines.gpkg", layer="smooth").to_crs(4326).to_file(ground / "degrees.gpkg")
    made = make_inventory(
        ground / "degrees.gpkg",
        ground / "out.gpkg",
        inputs=InventoryInputs(dem=(ground / "dem.tif",)),
        settings=InventorySettings(buffer_m=10),
    )
    assert made.glaciers.crs.to_epsg() == 4326
    assert made.glaciers["divides"].tolist() == ["terrain", "terrain", "none"]
    shapes = made.glaciers.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert made.glaciers["area_km2"].sum() == pytest.approx((90 * 40 + 16) * 0.0009 / 0.9996**2, rel=1e-3)
    assert (made.glaciers["uncertainty_km2"] > 0).all()


def test_outlines_that_touch_stay_as_they_are_unless_asked(ground: Path) -> None:
    first = make_inventory(
        ground / "mask.tif", ground / "first.gpkg", inputs=InventoryInputs(dem=(ground / "dem.tif",))
    )
    again = make_inventory(
        first.path, ground / "again.gpkg", inputs=InventoryInputs(dem=(ground / "dem.tif",))
    )
    assert again.glaciers["inv_id"].tolist() == first.glaciers["inv_id"].tolist()
    assert set(again.glaciers["divides"]) == {"kept"}
    assert any("3 of 3 outlines" in note for note in again.notes)
    again = make_inventory(
        first.path,
        ground / "again.gpkg",
        inputs=InventoryInputs(dem=(ground / "dem.tif",)),
        settings=InventorySettings(divides="terrain"),
    )
    assert again.bodies == 2
    assert len(again.glaciers) == 3


def test_a_contact_at_a_corner_does_not_switch_division_off_nor_a_border_elsewhere(ground: Path) -> None:
    vectorize_mask(ground / "mask.tif", ground / "raw.gpkg", VectorizeSettings(layers=("raw",)))
    raw = gpd.read_file(ground / "raw.gpkg", layer="raw")
    _, bottom, right, top = raw.geometry.iloc[1].bounds
    corner = shapely.box(right, bottom - 150, right + 150, bottom)
    pair = [shapely.box(right + 3000 + x, top, right + 3150 + x, top + 150) for x in (0, 150)]
    for more, divides in (([corner], ["none", "none"]), (pair, ["kept", "kept", "none"])):
        shapes = [raw.geometry.iloc[0], raw.geometry.iloc[1], *more]
        gpd.GeoDataFrame({"glacier_id": range(len(shapes))}, geometry=shapes, crs=raw.crs).to_file(
            ground / "more.gpkg"
        )
        made = make_inventory(
            ground / "more.gpkg", ground / "out.gpkg", inputs=InventoryInputs(dem=(ground / "dem.tif",))
        )
        assert sorted(made.glaciers["divides"]) == [*divides, "terrain", "terrain"]


def test_a_glacier_of_several_parts_stays_one(ground: Path) -> None:
    west, north = grid_of(120, 80).transform * (0, 0)
    parts = [shapely.box(west + x, north - 2700, west + x + 300, north - 900) for x in (600, 1200)]
    whole = shapely.MultiPolygon(parts)
    other = shapely.box(west + 1500, north - 2700, west + 1800, north - 900)
    gpd.GeoDataFrame({"rgi_id": ["A", "B"]}, geometry=[whole, other], crs=32645).to_file(ground / "two.gpkg")
    made = make_inventory(
        ground / "two.gpkg",
        ground / "out.gpkg",
        inputs=InventoryInputs(dem=(ground / "dem.tif",)),
        settings=InventorySettings(buffer_m=15),
    )
    stored = gpd.read_file(made.path, layer="glaciers")
    assert stored["divides"].tolist() == ["kept", "kept"]
    assert stored["area_km2"].tolist() == pytest.approx([1.08, 0.54], rel=2e-3)
    assert set(stored.geom_type) == {"MultiPolygon"}
    assert pyogrio.read_info(made.path, layer="glaciers")["geometry_type"] == "MultiPolygon"
    # Both parts run from the trough up over the ridge; the longer way is that of either, not of a pixel.
    assert stored["lmax_m"].iloc[0] >= stored["lmax_m"].iloc[1] - 60 > 800
    # Without ids it may be all the ice of a region.
    gpd.GeoDataFrame(geometry=[whole], crs=32645).to_file(ground / "all.gpkg")
    apart = make_inventory(ground / "all.gpkg", ground / "out.gpkg")
    assert len(apart.glaciers) == 2


def test_coarse_terrain_does_not_move_the_divides_of_another_inventory(ground: Path) -> None:
    west, north = grid_of(120, 80).transform * (0, 0)
    halves = [
        shapely.box(west, north - 3000, west + 1537, north),
        shapely.box(west + 1537, north - 3000, west + 2400, north),
    ]
    gpd.GeoDataFrame({"rgi_id": ["A", "B"]}, geometry=halves, crs=32645).to_file(ground / "theirs.gpkg")
    gpd.GeoDataFrame(geometry=[shapely.union_all(halves)], crs=32645).to_file(ground / "body.gpkg")
    write_dem(ground / "coarse.tif", np.full((12, 12), 5000.0), grid_of(12, 12, pixel_m=1000.0))
    for dem in ((), (ground / "coarse.tif",)):
        made = make_inventory(
            ground / "body.gpkg",
            ground / "out.gpkg",
            inputs=InventoryInputs(existing=ground / "theirs.gpkg", dem=dem),
        )
        assert made.glaciers["divides"].tolist() == ["existing", "existing"]
        assert made.glaciers.bounds["minx"].max() - west == pytest.approx(1537, abs=5)


def test_masks_without_glaciers_make_empty_inventories(ground: Path) -> None:
    for value in (0, 255):
        write_mask(ground / "none.tif", np.full((20, 30), value, np.uint8), grid_of(20, 30))
        made = make_inventory(
            ground / "none.tif",
            ground / "out.gpkg",
            inputs=InventoryInputs(dem=(ground / "dem.tif",), probability=ground / "chance.tif"),
        )
        assert len(gpd.read_file(made.path, layer="glaciers")) == 0
        assert "is empty" in made.notes[0]


def test_an_elevation_model_of_elsewhere_gives_no_terrain_but_says_so(ground: Path) -> None:
    write_dem(ground / "far.tif", np.ones((9, 9)), grid_of(9, 9, west=900_000))
    made = make_inventory(
        ground / "mask.tif", ground / "out.gpkg", inputs=InventoryInputs(dem=(ground / "far.tif",))
    )
    assert made.glaciers["dem_share"].eq(0).all()
    assert made.glaciers["zmin_m"].isna().all()
    assert any("not at all" in note for note in made.notes)


def test_small_voids_of_the_elevation_model_are_told(ground: Path) -> None:
    elevation, _, ridge = two_valleys()
    elevation[ridge + 10 : ridge + 13, 30:33] = np.nan
    write_dem(ground / "voids.tif", elevation, grid_of(120, 80))
    made = make_inventory(
        ground / "mask.tif", ground / "out.gpkg", inputs=InventoryInputs(dem=(ground / "voids.tif",))
    )
    shares = made.glaciers["dem_share"]
    assert sorted(shares) == pytest.approx([1 - 9 / 1800, 1, 1], abs=1e-4)
    assert made.glaciers["zmin_m"].notna().all()
    assert any("no elevation for a part of 1 of 3 glaciers" in note for note in made.notes)
    strict = make_inventory(
        ground / "mask.tif",
        ground / "strict.gpkg",
        InventorySettings(min_dem_share=0.999),
        InventoryInputs(dem=(ground / "voids.tif",)),
    )
    assert strict.glaciers["zmin_m"].isna().sum() == 1
    facts = pyogrio.read_info(strict.path, layer="glaciers")["layer_metadata"]
    assert facts["least_elevation_coverage"] == "0.999"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"out_path": "x.shp"}, RequestError, "end the name in .gpkg"),
        ({"divides": "terain"}, RequestError, "divides must be 'auto', 'terrain'"),
        ({"divides": "terrain"}, RequestError, "give --dem"),
        ({"divides": "existing"}, RequestError, "give --existing"),
        ({"min_area_km2": -1}, RequestError, "min_area_km2 must be greater than or equal to 0"),
        ({"buffer_m": 0}, RequestError, "buffer_m must be greater than 0"),
        ({"min_dem_share": 2}, RequestError, "min_dem_share must be less than or equal to 1"),
        ({"dem": "no.tif"}, RasterError, "no.tif"),
        ({"existing": "no.gpkg"}, TruthError, "no such file"),
        ({"existing": "old.geojson", "existing_id": "rgiid7"}, RequestError, "has no column 'rgiid7'"),
        ({"source": "no.gpkg"}, TruthError, "no such file"),
        ({"source": "no.tif"}, RasterError, "no.tif"),
    ],
)
def test_requests_that_cannot_be_met(
    ground: Path,
    options: dict[str, Any],
    error: type[GlaciersegError],
    words: str,
) -> None:
    thirds(ground)
    paths: dict[str, Any] = {"source": "mask.tif", "out_path": "out.gpkg"} | options
    given = {k: ground / v if k in {"source", "out_path", "dem", "existing"} else v for k, v in paths.items()}
    with pytest.raises(error, match=words):
        make_inventory(**given)
    assert not list(ground.glob("out*"))


def test_the_command_prints_what_it_made(ground: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "inventory",
            str(ground / "mask.tif"),
            "--out",
            str(ground / "o.gpkg"),
            "--dem",
            str(ground / "dem.tif"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "3 glaciers from 3 ice bodies" in result.output
    assert "terrain" in result.output


RINGS = st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=3, max_size=6, unique=True)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(RINGS, min_size=1, max_size=3), min_size=1, max_size=3), st.booleans())
def test_the_layer_holds_what_it_declares(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[list[tuple[int, int]]]], with_ids: bool
) -> None:
    """Bow-ties, parts that overlap, and what making them valid leaves behind."""
    folder = tmp_path_factory.mktemp("shapes")
    west, north = 478_000, 3_108_000
    table = gpd.GeoDataFrame(
        geometry=[
            shapely.MultiPolygon(
                [shapely.Polygon([(west + 100 * x, north - 100 * y) for x, y in ring]) for ring in rings]
            )
            for rings in shapes
        ],
        crs=32645,
    )
    if with_ids:
        table["rgi_id"] = [f"g{number}" for number in range(len(table))]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        table.to_file(folder / "in.gpkg")
        try:
            made = make_inventory(
                folder / "in.gpkg", folder / "out.gpkg", InventorySettings(min_area_km2=0.001)
            )
        except TruthError:
            return
    declared = pyogrio.read_info(made.path, layer="glaciers")["geometry_type"]
    stored = gpd.read_file(made.path, layer="glaciers")
    assert set(stored.geom_type) <= {declared}
    assert stored.is_valid.all()
    assert (stored.area > 0).all()
