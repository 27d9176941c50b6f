import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.data.augment import SYMMETRIES, Augmentation, Directions, Symmetry
from glacierseg.raster.facts import RANGES_TAG
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import PixelAxes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.terrain import aspect, terrain_layers
from glacierseg.raster.write import write_raster

THIRTY = PixelAxes(30, 0.0, 0.0, -30)
MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> MakeScene:
    """A scene of some bands, in levels where they are bytes, perhaps with the ranges that made them."""

    def make(values: dict[str, np.ndarray], ranges: dict[str, tuple[float, float]] | None = None) -> Scene:
        paths = []
        for name, layer in values.items():
            grid = Grid(rasterio.CRS.from_epsg(32644), Affine(30, 0, 0, 0, -30, 4e6), *layer.shape)
            tags = {RANGES_TAG: json.dumps(ranges)} if ranges else {}
            paths.append(tmp_path / f"{name}.tif")
            write_raster(paths[-1], layer, grid, bands=[name], nodata=None, tags=tags)
        return open_scene(paths)

    return make


def hills(seed: int, side: int = 14) -> np.ndarray:
    return np.random.default_rng(seed).normal(5000, 50, (side, side))


def in_type(names: list[str], dtypes: list[str]) -> dict[str, np.ndarray]:
    return {name: np.zeros((8, 8), dtype) for name, dtype in zip(names, dtypes, strict=True)}


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_aspect_bands_turn_as_the_ground_does(symmetry: Symmetry, make_scene: MakeScene) -> None:
    """Aspect of a turned elevation model is what the turned aspect bands say."""
    z = np.random.default_rng(2).normal(5000, 50, (14, 14))
    bands = np.stack([np.ones((12, 12)), *aspect(z, PixelAxes(30, 0.0, 0.0, -30))]).astype(np.float32)
    names = ["red", "aspect_sin", "aspect_cos"]
    directions = Directions.of(make_scene(in_type(names, ["uint8", "float32", "float32"])))
    turned = symmetry.apply(directions.turn(bands.copy(), symmetry))
    expected = aspect(np.ascontiguousarray(symmetry.apply(z)), PixelAxes(30, 0.0, 0.0, -30))
    np.testing.assert_allclose(turned[1:], np.stack(expected), atol=1e-5)
    assert (turned[0] == 1).all()
    if symmetry != Symmetry(flip=False, quarter_turns=0):
        assert not np.allclose(symmetry.apply(bands)[1:], np.stack(expected), atol=0.1), (
            "or the test is blind"
        )


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_levels_turn_about_the_level_of_zero(symmetry: Symmetry, make_scene: MakeScene) -> None:
    shares = np.random.default_rng(1).uniform(-1, 1, (2, 5, 5))
    levels = np.rint(1 + (shares + 1) / 2 * 254).astype(np.uint8)
    names = ["red", "aspect_sin", "aspect_cos"]
    directions = Directions.of(make_scene(in_type(names, ["float32", "uint8", "uint8"])))
    with_red = np.concatenate([np.ones((1, 5, 5)), levels]).astype(np.float32)
    turned = directions.turn(with_red, symmetry)[1:]
    expected = np.stack(symmetry.turn_direction(*shares))
    np.testing.assert_allclose(turned, 1 + (expected + 1) / 2 * 254, atol=0.51)


@pytest.mark.parametrize(("bands", "count"), [(["aspect_sin"], 4), (["aspect_cos", "red"], 4), (["red"], 8)])
def test_a_direction_that_is_half_there_is_not_turned_sideways(
    bands: list[str], count: int, make_scene: MakeScene
) -> None:
    directions = Directions.of(make_scene(in_type(bands, ["float32"] * len(bands))))
    assert len(directions.symmetries) == count
    z = np.random.default_rng(3).normal(5000, 50, (14, 14))
    both = dict(zip(("aspect_sin", "aspect_cos"), aspect(z, PixelAxes(30, 0.0, 0.0, -30)), strict=True))
    for symmetry in directions.symmetries:
        after = dict(
            zip(
                both,
                aspect(np.ascontiguousarray(symmetry.apply(z)), PixelAxes(30, 0.0, 0.0, -30)),
                strict=True,
            )
        )
        for position, band in enumerate(bands):
            if band in both:
                values = np.zeros((len(bands), 12, 12), np.float32)
                values[position] = both[band]
                turned = symmetry.apply(directions.turn(values, symmetry))
                np.testing.assert_allclose(turned[position], after[band], atol=1e-5)


def apart(first: np.ndarray, second: np.ndarray, circle: float) -> np.ndarray:
    """How far two directions are apart the short way round."""
    gap: np.ndarray = np.abs((first - second + circle / 2) % circle - circle / 2)
    return gap


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
@pytest.mark.parametrize("stored", ["degrees", "by definition", "percentiles", "0-255 of bytes", "0-255"])
def test_aspect_in_degrees_turns_as_the_ground_does(
    symmetry: Symmetry, stored: str, make_scene: MakeScene
) -> None:
    """Aspect of a turned elevation model is what the turned band says, in degrees and in levels."""
    z = hills(2, 74)

    def of(surface: np.ndarray) -> np.ndarray:
        return terrain_layers(surface, THIRTY, ["aspect"])["aspect"]

    low, high = (3.5, 357.5) if stored == "percentiles" else (0.0, 360.0)

    def as_stored(degrees: np.ndarray) -> np.ndarray:
        if stored == "degrees":
            return degrees
        if stored.startswith("0-255"):
            levels = np.rint(degrees / 360 * 255)
            return levels.astype(np.uint8 if stored == "0-255 of bytes" else np.float32)
        return np.rint(1 + np.clip((degrees - low) / (high - low), 0, 1) * 254).astype(np.uint8)

    ranges = {"aspect": (low, high)} if stored in {"by definition", "percentiles"} else None
    band = as_stored(of(z))
    scene = make_scene({"red": np.ones((72, 72), np.uint8), "aspect": band}, ranges)
    directions = Directions.of(scene)
    assert directions.symmetries == SYMMETRIES
    values = np.stack([np.ones_like(band), band]).astype(np.float32)
    turned = symmetry.apply(directions.turn(values, symmetry))
    assert (turned[0] == 1).all()
    expected = of(np.ascontiguousarray(symmetry.apply(z)))
    circle, tolerance = (360.0, 1e-3) if stored == "degrees" else (255.0, 1.01)
    if ranges:
        circle, tolerance = 254 * 360 / (high - low), 4.5 if stored == "percentiles" else 1.01
    wrong = apart(turned[1], as_stored(expected).astype(float), circle)
    assert wrong.max() <= tolerance
    assert turned[1].min() >= (1 if ranges else 0)
    assert turned[1].max() <= (360 if stored == "degrees" else 255)
    if symmetry != SYMMETRIES[0]:
        untouched = apart(symmetry.apply(band).astype(float), as_stored(expected).astype(float), circle)
        assert untouched.max() > circle / 8, "or the test is blind"


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_velocity_turns_as_the_ice_does(symmetry: Symmetry, make_scene: MakeScene) -> None:
    """A stone that moved 2 pixels east and 3 north in a picture, and where it moved in the turned one."""
    picture = np.zeros((9, 9), int)
    picture[4, 4], picture[1, 6] = 1, 2
    (start,), (end,) = (np.argwhere(symmetry.apply(picture) == mark) for mark in (1, 2))
    expected = end[1] - start[1], start[0] - end[0]
    ranges = {"velocity_x": (-8.0, 8.0), "velocity_y": (-4.0, 12.0)}
    moved = dict(zip(ranges, (np.full((5, 5), 2, np.float32), np.full((5, 5), 3, np.float32)), strict=True))
    turned = Directions.of(make_scene(moved)).turn(np.stack([*moved.values()]), symmetry)
    np.testing.assert_allclose(turned[:, 0, 0], expected, atol=1e-6)

    def as_level(value: float, name: str) -> float:
        low, high = ranges[name]
        return 1 + (value - low) / (high - low) * 254

    levels = np.stack([np.full((5, 5), as_level(one[0, 0], name)) for name, one in moved.items()])
    scene = make_scene({name: np.zeros((5, 5), np.uint8) for name in moved}, ranges)
    turned = Directions.of(scene).turn(levels.astype(np.float32), symmetry)
    wanted = [as_level(value, name) for value, name in zip(expected, ranges, strict=True)]
    np.testing.assert_allclose(turned[:, 0, 0], wanted, atol=1e-3)


def test_levels_of_velocity_without_ranges_are_not_turned(make_scene: MakeScene) -> None:
    scene = make_scene(in_type(["velocity_x", "velocity_y"], ["uint8", "uint8"]))
    assert Directions.of(scene).symmetries == SYMMETRIES[:1]
    assert len(Directions.of(scene.select(["velocity_x"])).symmetries) == 1


@pytest.mark.parametrize("symmetry", SYMMETRIES, ids=str)
def test_undo_undoes(symmetry: Symmetry) -> None:
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert (symmetry.undo(symmetry.apply(array)) == array).all()


def test_the_eight_are_eight() -> None:
    array = np.arange(9).reshape(3, 3)
    assert len({symmetry.apply(array).tobytes() for symmetry in SYMMETRIES}) == 8


@settings(deadline=None, max_examples=40)
@given(st.floats(0.05, 0.9), st.integers(0, 1000))
def test_gamma_keeps_order_and_ends(gamma: float, seed: int) -> None:
    line = np.linspace(-5, 5, 101, dtype=np.float32)
    image = np.repeat(line[None, None], 4, axis=0)
    rng = np.random.default_rng(seed)
    changed = Augmentation(gamma=gamma).change(image.copy(), np.ones((1, 101), bool), rng)
    assert (np.diff(changed[:, 0]) > -1e-5).all()
    outside = np.abs(line) >= 3.0001
    np.testing.assert_allclose(changed[:, 0, outside], image[:, 0, outside], atol=1e-5)
    middle = changed[:, 0, 50] / 6 + 0.5
    exponents = np.log(middle) / np.log(0.5)
    assert (exponents <= 1 + gamma + 1e-3).all()
    assert (exponents >= 1 / (1 + gamma) - 1e-3).all()
    assert len(set(exponents.round(5))) == 4, "every band has an exponent of its own"


def test_brightness_is_one_light_for_all_bands() -> None:
    image = np.random.default_rng(5).normal(0, 1, (3, 8, 8)).astype(np.float32)
    valid = np.ones((8, 8), bool)
    valid[0] = False
    shifts, factors = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        changed = Augmentation(brightness=0.4).change(image.copy(), valid, rng)
        assert (changed[:, ~valid] == 0).all()
        factor, shift = np.polyfit(image[:, valid].ravel(), changed[:, valid].ravel(), 1)
        np.testing.assert_allclose(changed[:, valid], image[:, valid] * factor + shift, atol=1e-4)
        shifts.append(shift)
        factors.append(factor)
    assert abs(np.std(shifts) - 0.4) < 0.05
    assert abs(np.std(np.log(factors)) - 0.2) < 0.025


def test_noise_has_the_size_asked_for_and_spares_pixels_without_data() -> None:
    valid = np.ones((64, 64), bool)
    valid[:8] = False
    noisy = Augmentation(noise=0.25).change(
        np.zeros((3, 64, 64), np.float32), valid, np.random.default_rng(1)
    )
    assert noisy[:, valid].std() == pytest.approx(0.25, rel=0.05)
    assert (noisy[:, ~valid] == 0).all()


def test_dropout_blanks_whole_bands_and_modalities_but_never_all() -> None:
    valid = np.ones((2, 2), bool)
    rng = np.random.default_rng(5)
    gone = []
    for _ in range(2000):
        image = Augmentation(band_dropout=0.3).change(np.ones((3, 2, 2), np.float32), valid, rng)
        assert image.any()
        blank = ~image.any((1, 2))
        assert (image[~blank] == 1).all()
        gone.append(blank)
    # A third power of 0.3 is refused: all three at once.
    assert np.mean(gone) == pytest.approx(0.3 - 0.3**3, abs=0.02)
    modalities = {"optical": (0, 2), "terrain": (1,)}
    kinds = set()
    for _ in range(200):
        image = np.ones((4, 2, 2), np.float32)
        Augmentation(modality_dropout=0.6, modalities=modalities).change(image, valid, rng)
        kinds.add(tuple(image[:, 0, 0]))
    # Where a band stands in no modality, something is left when all of these are gone.
    assert kinds == {(1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 1, 1), (0, 0, 0, 1)}
    for _ in range(200):
        image = np.ones((3, 2, 2), np.float32)
        Augmentation(modality_dropout=0.6, modalities=modalities).change(image, valid, rng)
        assert image.any()


@pytest.mark.parametrize(
    ("dropout", "modalities", "channels", "expected"),
    [
        (0.2, {"terrain": (1,), "radar": (3, 0)}, 5, (0, 1, 3)),
        (0.2, {"optical": (0, 2), "terrain": (1,)}, 3, (0, 1, 2)),
        (0.0, {"terrain": (1,)}, 3, ()),
        (0.2, {"terrain": (1,)}, 3, (1,)),
        # The only modality of all bands is never blanked.
        (0.2, {"terrain": (0, 1, 2)}, 3, ()),
        (0.2, {}, 3, ()),
    ],
)
def test_bands_that_may_be_missing_are_those_that_training_blanks(
    dropout: float, modalities: dict[str, tuple[int, ...]], channels: int, expected: tuple[int, ...]
) -> None:
    changes = Augmentation(modality_dropout=dropout, modalities=modalities)
    assert changes.may_miss(channels) == expected
    blanked: set[int] = set()
    for seed in range(200):
        image = np.ones((channels, 1, 1), np.float32)
        changes.change(image, np.ones((1, 1), bool), np.random.default_rng(seed))
        blanked |= set(np.flatnonzero(image[:, 0, 0] == 0))
    assert blanked == set(expected)
