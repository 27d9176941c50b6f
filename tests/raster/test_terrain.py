import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Proj
from rasterio.crs import CRS
from scipy import ndimage

from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes, pixel_axes
from glacierseg.raster.terrain import TERRAIN, terrain_layers, terrain_of

ALL = tuple(TERRAIN)
TEN = PixelAxes(10, 0.0, 0.0, -10)


@pytest.fixture(scope="module")
def hills() -> NDArray[np.float64]:
    """A smooth landscape of kilometres with some roughness, `(82, 62)`."""
    rng = np.random.default_rng(7)
    result: NDArray[np.float64] = (
        4000
        + 2000 * ndimage.gaussian_filter(rng.standard_normal((82, 62)), 6) * 6
        + rng.standard_normal((82, 62))
    )
    return result


def oracle(z: NDArray[np.float64], dx: float, dy: float) -> dict[str, NDArray[np.float64]]:
    """The same layers by convolutions over the whole array, from the text-book kernels."""

    def apply(kernel: list[list[float]]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = ndimage.correlate(z, np.asarray(kernel, float), mode="nearest")[
            1:-1, 1:-1
        ]
        return result

    horn_x = apply([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / (8 * dx)
    horn_y = apply([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / (8 * dy)
    p = apply([[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]]) / dx
    q = apply([[0, 0.5, 0], [0, 0, 0], [0, -0.5, 0]]) / dy
    r = apply([[0, 0, 0], [1, -2, 1], [0, 0, 0]]) / dx**2
    t = apply([[0, 1, 0], [0, -2, 0], [0, 1, 0]]) / dy**2
    s = apply([[-0.25, 0, 0.25], [0, 0, 0], [0.25, 0, -0.25]]) / (dx * dy)
    # Curvature as the second derivative along a unit vector of the line of fall, and across it.
    along_x, along_y = p / np.hypot(p, q), q / np.hypot(p, q)
    rising = 1 + p**2 + q**2
    profile = -(r * along_x**2 + 2 * s * along_x * along_y + t * along_y**2) / rising**1.5
    tangential = -(r * along_y**2 - 2 * s * along_x * along_y + t * along_x**2) / rising**0.5
    fall = np.arctan2(-horn_x, -horn_y)
    middle = z[1:-1, 1:-1]
    # Eigenvalues of the shape operator: of the second fundamental form by the first.
    first = np.stack([1 + p**2, p * q, p * q, 1 + q**2], axis=-1).reshape(*p.shape, 2, 2)
    second = np.stack([r, s, s, t], axis=-1).reshape(*p.shape, 2, 2) / np.sqrt(rising)[..., None, None]
    principal = np.linalg.eigvals(np.linalg.solve(first, second)).real
    squares = sum(
        (np.roll(z, (i, j), (0, 1))[1:-1, 1:-1] - middle) ** 2 for i in (-1, 0, 1) for j in (-1, 0, 1)
    )
    return {
        "elevation": middle,
        "slope": np.degrees(np.arctan(np.sqrt(horn_x**2 + horn_y**2))),
        "aspect_sin": np.sin(fall),
        "aspect_cos": np.cos(fall),
        "curvature_profile": profile,
        "curvature_tangential": tangential,
        "ruggedness": np.sqrt(squares),
        "aspect": np.degrees(fall) % 360,
        "unsphericity": np.ptp(principal, axis=-1) / 2,
    }


@pytest.mark.parametrize("name", ALL)
def test_layer_agrees_with_convolutions(hills: NDArray[np.float64], name: str) -> None:
    layer = terrain_layers(hills, PixelAxes(27.0, 0.0, 0.0, -22.0), ALL)[name]
    expected = oracle(hills, 27.0, 22.0)[name]
    assert layer.dtype == np.float32
    np.testing.assert_allclose(layer, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@settings(max_examples=40, deadline=None)
@given(steepness=st.floats(1, 80), direction=st.floats(0, 359), dx=st.floats(1, 100), dy=st.floats(1, 100))
def test_plane_has_its_slope_and_aspect_and_no_curvature(
    steepness: float, direction: float, dx: float, dy: float
) -> None:
    fall = np.radians(direction)
    row, column = np.mgrid[0:5, 0:5]
    east, north = column * dx, -row * dy
    z = 5000 - np.tan(np.radians(steepness)) * (np.sin(fall) * east + np.cos(fall) * north)
    layers = terrain_layers(z, PixelAxes(dx, 0.0, 0.0, -dy), ALL)
    np.testing.assert_allclose(layers["slope"], steepness, rtol=1e-5)
    np.testing.assert_allclose(layers["aspect_sin"], np.sin(fall), atol=1e-5)
    np.testing.assert_allclose(layers["aspect_cos"], np.cos(fall), atol=1e-5)
    assert ((layers["aspect"] >= 0) & (layers["aspect"] < 360)).all()
    # 359.999 and 0.001 are neighbours.
    np.testing.assert_allclose((layers["aspect"] - direction + 180) % 360 - 180, 0, atol=1e-3)
    assert layers["unsphericity"].max() < 1e-7
    assert np.abs(layers["curvature_profile"]).max() < 1e-7
    assert np.abs(layers["curvature_tangential"]).max() < 1e-7


def test_level_ground_has_no_aspect_and_no_curvature() -> None:
    layers = terrain_layers(np.full((5, 5), 4000.0), TEN, ALL)
    for name in set(ALL) - {"elevation"}:
        assert (layers[name] == 0).all()


def test_signs_a_dome_bulges_and_a_bowl_is_hollow() -> None:
    row, column = np.mgrid[-5:6, -5:6] * 10.0
    dome = 5000 - (row**2 + column**2) / 1000
    for shape, sign in ((dome, 1), (-dome, -1)):
        layers = terrain_layers(shape, TEN, ALL)
        away_from_top = np.hypot(row, column)[1:-1, 1:-1] > 0
        assert (sign * layers["curvature_profile"][away_from_top] > 0).all()
        assert (sign * layers["curvature_tangential"][away_from_top] > 0).all()


def test_sphere_has_the_curvature_of_its_radius() -> None:
    """Both curvatures of a sphere are one over its radius wherever one stands."""
    radius = 5000.0
    row, column = np.mgrid[-60:61, -60:61] * 10.0
    layers = terrain_layers(np.sqrt(radius**2 - row**2 - column**2), TEN, ALL)
    inside = (np.hypot(row, column)[1:-1, 1:-1] > 100) & (np.hypot(row, column)[1:-1, 1:-1] < 550)
    np.testing.assert_allclose(layers["curvature_profile"][inside], 1 / radius, rtol=1e-3)
    np.testing.assert_allclose(layers["curvature_tangential"][inside], 1 / radius, rtol=1e-3)


@pytest.mark.parametrize(("east", "north", "degrees"), [(0, 1, 0), (1, 0, 90), (0, -1, 180), (-1, 0, 270)])
def test_aspect_in_degrees_is_clockwise_from_north(east: int, north: int, degrees: int) -> None:
    row, column = np.mgrid[0:5, 0:5] * 10.0
    z = 5000 - 0.4 * (east * column - north * row)
    assert (terrain_layers(z, TEN, ["aspect"])["aspect"] == degrees).all()


def test_unsphericity_of_a_sphere_a_cylinder_and_a_saddle() -> None:
    """Both curvatures of a sphere are equal, one of a cylinder is 0, and those of a saddle are opposite."""
    radius = 5000.0
    row, column = np.mgrid[-40:41, -40:41] * 10.0
    east, north = column, -row

    def found(z: np.ndarray) -> np.ndarray:
        return terrain_layers(z, TEN, ["unsphericity"])["unsphericity"]

    sphere = found(np.sqrt(radius**2 - east**2 - north**2))
    assert sphere.max() < 1e-3 / radius
    axis = np.radians(35)
    across = east * np.cos(axis) + north * np.sin(axis)
    np.testing.assert_allclose(found(np.sqrt(radius**2 - across**2)), 0.5 / radius, rtol=1e-3)
    # z = e n / R: at its middle the curvatures are 1 / R and -1 / R.
    saddle = found(east * north / radius)
    assert saddle[39, 39] == pytest.approx(1 / radius, rel=1e-6)
    slope_x, slope_y = (north / radius)[1:-1, 1:-1], (east / radius)[1:-1, 1:-1]
    rising = 1 + slope_x**2 + slope_y**2
    mean, gaussian = slope_x * slope_y / (radius * rising**1.5), -1 / (radius * rising) ** 2
    np.testing.assert_allclose(saddle, np.sqrt(mean**2 - gaussian), rtol=1e-5)


def test_missing_elevation_takes_its_neighbours_along(hills: NDArray[np.float64]) -> None:
    z = hills.copy()
    z[10, 10] = np.nan
    for name, layer in terrain_layers(z, TEN, ALL).items():
        holes = np.argwhere(np.isnan(layer)).tolist()
        around = [[i, j] for i in (8, 9, 10) for j in (8, 9, 10)]
        assert holes == ([[9, 9]] if name == "elevation" else around), name


def test_only_the_wanted_layers_are_made(hills: NDArray[np.float64]) -> None:
    assert list(terrain_layers(hills, TEN, ["slope"])) == ["slope"]


@settings(max_examples=40, deadline=None)
@given(turn=st.floats(0, 360), flip=st.booleans(), slant=st.floats(-0.5, 0.5))
def test_layers_do_not_depend_on_how_rows_and_columns_run(turn: float, flip: bool, slant: float) -> None:
    """A surface of second degree, told in turned, mirrored and slanted pixels, keeps its layers."""
    angle, side = np.radians(turn), -1 if flip else 1
    across = np.array([np.cos(angle), np.sin(angle)]) * 12
    down = np.array([-np.sin(angle), np.cos(angle)]) * 8 * side + slant * across
    row, column = np.mgrid[-1:2, -1:2]

    def height(east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
        return 5000 + 0.3 * east - 0.5 * north + 1e-4 * east**2 + 2e-4 * east * north - 3e-4 * north**2

    z = height(column * across[0] + row * down[0], column * across[1] + row * down[1])
    upright = height(column * 10.0, row * -10.0)
    found = terrain_layers(z, PixelAxes(*across, *down), ALL)
    expected = terrain_layers(upright, TEN, ALL)
    for name in set(ALL) - {"ruggedness"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-9, err_msg=name)


def test_strips_of_a_block_are_parts_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In degrees near the pole, where every row has another width."""
    grid = Grid(CRS.from_epsg(4326), Affine(0.01, 0, 10, 0, -0.01, 85), 300, 60)
    z = 1000 * np.random.default_rng(0).random((102, 42))
    whole = terrain_of(z, grid, 150, 7, ["slope"])["slope"]
    np.testing.assert_array_equal(
        whole, terrain_layers(z, pixel_axes(grid, 150, 7, 100, 40), ["slope"])["slope"]
    )
    monkeypatch.setattr("glacierseg.raster.terrain._STRIP_PX", 13 * 40)
    np.testing.assert_array_equal(terrain_of(z, grid, 150, 7, ["slope"])["slope"], whole)


def test_aspect_counts_from_true_north_when_asked_for() -> None:
    """Three degrees east of the middle of a UTM zone, grid north is 2 degrees off at 45 degrees north."""
    grid = Grid(CRS.from_epsg(32632), Affine(10, 0, 736000, 0, -10, 4990000), 5, 5)
    row = np.mgrid[0:5, 0:5][0] * 10.0
    found = [
        float(terrain_of(0.4 * row, grid, 1, 1, ["aspect"], true_north=true)["aspect"][1, 1])
        for true in (False, True)
    ]
    convergence = Proj(32632).get_factors(12.0, 45.0).meridian_convergence
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert found[1] == pytest.approx(convergence, abs=0.02)


def test_bounds_of_layers_are_those_that_they_can_reach() -> None:
    assert TERRAIN["slope"] == (0.0, 90.0)
    assert TERRAIN["aspect"] == (0.0, 360.0)
