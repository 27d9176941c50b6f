import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS
from scipy import stats

from glacierseg.change.bounds import bound_change, bound_changes, read_dated
from glacierseg.change.files import FileChange, change_between_files, write_change
from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.area_bounds import AreaSums
from glacierseg.models.card import ModelCard
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale, store_calibration
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import ChangeInputs, ChangeSettings
from tests.helpers import present, utm_grid, write_mask

SCALE = LogitScale(1.5, -0.2)
SUMS = st.builds(AreaSums, st.integers(2000, 9000), st.floats(0, 2000), st.floats(0.1, 500))
DISPERSIONS = st.builds(
    Dispersion, st.floats(1, 50), st.just(16), st.floats(8, 90), st.floats(3, 90), st.floats(10, 1e4)
)


@given(SUMS, SUMS, DISPERSIONS, DISPERSIONS, st.floats(0.5, 0.99))
def test_bounds_of_a_difference(
    old: AreaSums, new: AreaSums, d0: Dispersion, d1: Dispersion, confidence: float
) -> None:
    found = bound_change(old, new, d0, d1, 1e-4, confidence)
    reaches = [
        stats.t.ppf((1 + confidence) / 2, d.degrees_of_freedom)
        * np.sqrt(d.factor * s.variance_px * (1 + s.variance_px / d.variance_px))
        for s, d in ((old, d0), (new, d1))
    ]
    assert found.reach_km2 == pytest.approx(np.sqrt(reaches[0] ** 2 + reaches[1] ** 2) * 1e-4, rel=1e-6)
    assert found.change_km2 == pytest.approx((new.expected_px - old.expected_px) * 1e-4)
    assert found.old.lower_km2 == pytest.approx(
        max(old.expected_px - reaches[0], 0) * 1e-4, rel=1e-6, abs=1e-9
    )
    row = found.to_dict()
    assert row["change_beyond_bounds"] == (row["change_lower_km2"] > 0 or row["change_upper_km2"] < 0)
    # Never narrower than either date alone, never wider than both added up.
    assert max(reaches) * 1e-4 <= found.reach_km2 * (1 + 1e-6)
    assert found.reach_km2 <= sum(reaches) * 1e-4 * (1 + 1e-6)


def model(folder: Path, scale: LogitScale = SCALE, symmetries: bool = False) -> Path:
    folder.mkdir()
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red",), band_mean=(0,), band_std=(1,), patch_px=32
    )
    (folder / "model.json").write_text(card.model_dump_json())
    dispersion = Dispersion(9.0, 32, 20.0, 18.0, 400.0)
    store_calibration(
        folder, Calibration(scale, 100, ("a",), 1.0, 0.9, 0.1, 0.05, dispersion, symmetries=symmetries)
    )
    return folder


def write_probability(
    path: Path, values: NDArray[Any], *, coarse: bool = False, tags: dict[str, str] | None = None
) -> Path:
    grid = utm_grid(*values.shape)
    stored, nodata, scale = values.astype(np.float32), float("nan"), 1.0
    if coarse:
        stored = np.where(np.isnan(values), 255, np.rint(np.nan_to_num(values) * 254)).astype(np.uint8)
        nodata, scale = 255, 1 / 254
    write_raster(path, stored, grid, bands=["glacier_probability"], nodata=nodata, tags=tags, cog=False)
    if coarse:
        import rasterio

        with rasterio.open(path, "r+") as dataset:
            dataset.scales = (scale,)
    return path


@pytest.fixture
def dates(tmp_path: Path) -> tuple[list[Path], NDArray[np.uint8], NDArray[np.float64]]:
    rng = np.random.default_rng(1)
    masks = np.zeros((2, 40, 60), np.uint8)
    masks[0, 5:35, 5:25] = masks[0, 10:30, 40:55] = 1
    masks[1] = masks[0]
    masks[1, 30:35] = 0
    probabilities = np.clip(np.where(masks == 1, 0.85, 0.1) + rng.normal(0, 0.05, masks.shape), 0.01, 0.99)
    probabilities[0, :3, :7] = np.nan
    masks[1, 38:, 50:] = 255
    paths = [write_mask(tmp_path / f"{name}.tif", mask) for name, mask in zip("ab", masks, strict=True)]
    return paths, masks, probabilities


def test_areas_of_each_glacier_by_hand(
    tmp_path: Path, dates: tuple[list[Path], NDArray[np.uint8], NDArray[np.float64]]
) -> None:
    (old, new), masks, values = dates
    folder = model(tmp_path / "model")
    before = write_probability(tmp_path / "p0.tif", values[0])
    after = write_probability(tmp_path / "p1.tif", values[1], coarse=True)
    found = change_between_files(
        old, new, inputs=ChangeInputs(old_probability=before, new_probability=after, old_model=folder)
    )
    known = ~np.isnan(values).any(axis=0) & (masks[1] != 255)
    rounded = np.stack([values[0].astype(np.float32), np.rint(values[1] * 254) / 254])
    chance = 1 / (1 + np.exp(-(np.log(rounded / (1 - rounded)) / 1.5 - 0.2)))
    bounds = present(found.bounds)
    total = bounds.total
    assert total.old.expected_km2 == pytest.approx(chance[0][known].sum() * 1e-4, rel=1e-5)
    assert total.new.expected_km2 == pytest.approx(chance[1][known].sum() * 1e-4, rel=1e-5)
    assert sum(one.change_km2 for one in bounds.glaciers) == pytest.approx(total.change_km2)
    # The second glacier is the nearer one from half way between the two on.
    half = known & (np.arange(60) >= 33)[None, :]
    expected = (chance[1] - chance[0])[half].sum() * 1e-4
    assert bounds.glaciers[1].change_km2 == pytest.approx(expected, abs=2e-3)
    v = (chance[1] * (1 - chance[1]))[known].sum()
    reach = stats.t.ppf(0.95, 18) * np.sqrt(9 * v * (1 + v / 400)) * 1e-4
    assert total.new.upper_km2 == pytest.approx(total.new.expected_km2 + reach, rel=1e-4)
    stored = json.loads(write_change(found, tmp_path / "out").with_suffix(".json").read_text())
    assert stored["confidence"] == 0.9
    assert stored["total"]["change_upper_km2"] == pytest.approx(total.change_km2 + total.reach_km2)
    assert stored["glaciers"][0]["old_expected_km2"] == bounds.glaciers[0].old.expected_km2


def test_each_date_may_have_a_model_of_its_own(
    tmp_path: Path, dates: tuple[list[Path], NDArray[np.uint8], NDArray[np.float64]]
) -> None:
    (old, new), masks, values = dates
    first, second = model(tmp_path / "first"), model(tmp_path / "second", LogitScale(1.0))
    before, after = (write_probability(tmp_path / f"p{number}.tif", values[number]) for number in (0, 1))
    found = change_between_files(
        old,
        new,
        inputs=ChangeInputs(old_probability=before, new_probability=after, old_model=first, new_model=second),
    )
    known = ~np.isnan(values).any(axis=0) & (masks[1] != 255)
    assert present(found.bounds).total.new.expected_km2 == pytest.approx(
        values[1][known].sum() * 1e-4, rel=1e-5
    )


def test_calibrated_files_are_not_calibrated_again(
    tmp_path: Path, dates: tuple[list[Path], NDArray[np.uint8], NDArray[np.float64]]
) -> None:
    _, _, values = dates
    folder = model(tmp_path / "model")
    raw, scaled = (tmp_path / f"{name}.tif" for name in ("raw", "scaled"))
    write_probability(raw, values[1])
    write_probability(scaled, SCALE.apply(values[1]), tags={"calibration": "temperature 1.5"})
    dated = [read_dated(path, folder) for path in (raw, scaled)]
    total, each = bound_changes(dated[0], dated[1], np.empty(0, object), CRS.from_epsg(32643))
    assert total.change_km2 == pytest.approx(0, abs=1e-6)
    assert each == ()


def test_earlier_outlines_have_the_ground_that_overlaps(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", LogitScale(1.0))
    grid = utm_grid(10, 20)
    path = write_probability(tmp_path / "p.tif", np.full(grid.shape, 0.5))
    left, top = grid.transform * (0, 0)
    shapes = np.array(
        [shapely.box(left, top - 100, left + 120, top), shapely.box(left + 80, top - 100, left + 200, top)]
    )
    dated = read_dated(path, folder)
    _, each = bound_changes(dated, dated, shapes, CRS.from_epsg(32643))
    assert [one.old.expected_km2 for one in each] == pytest.approx([0.5 * 120e-4, 0.5 * 80e-4])


def test_what_has_no_bounds_is_refused(
    tmp_path: Path, dates: tuple[list[Path], NDArray[np.uint8], NDArray[np.float64]]
) -> None:
    (old, new), _, values = dates
    folder, turned = model(tmp_path / "model"), model(tmp_path / "turned", symmetries=True)
    path = write_probability(tmp_path / "p.tif", values[1])
    small = write_probability(tmp_path / "small.tif", values[1, :-1])
    several = write_probability(tmp_path / "several.tif", values[1], tags={"spread_of": "3 networks"})

    def ask(before: Path, after: Path, first: Path = folder, confidence: float = 0.9) -> FileChange:
        settings = ChangeSettings(confidence=confidence)
        inputs = ChangeInputs(
            old_probability=before, new_probability=after, old_model=first, new_model=folder
        )
        return change_between_files(old, new, settings=settings, inputs=inputs)

    with pytest.raises(GridMismatchError, match=r"small\.tif: lies on another grid than .*p\.tif"):
        ask(path, small)
    with pytest.raises(GridMismatchError, match=r"a\.tif: lies on another grid than .*small\.tif"):
        ask(small, small)
    with pytest.raises(RequestError, match="with symmetries, but these probabilities were"):
        ask(path, path, turned)
    with pytest.raises(RequestError, match=r"several\.tif: .* network alone"):
        ask(several, path)
    with pytest.raises(RequestError, match="confidence must be less than 1"):
        ask(path, path, confidence=90)
    lost = model(tmp_path / "lost", LogitScale(20.0, 0.0, at_bound=True))
    with pytest.raises(RequestError, match="ended at a bound"):
        ask(path, path, lost)
    card = ModelCard.model_validate_json((folder / "model.json").read_text())
    (folder / "model.json").write_text(card.model_copy(update={"calibration": None}).model_dump_json())
    with pytest.raises(RequestError, match="has no calibration"):
        ask(path, path)
