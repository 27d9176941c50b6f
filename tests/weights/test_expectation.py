"""Units, seasons and values of scenes against those of a training."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.errors import ValuesError
from glacierseg.models.card import ModelCard
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.facts import SceneFacts, facts_of
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.units import LEVELS_UNIT, UNITS
from glacierseg.raster.values import BandValues, measure_values
from glacierseg.raster.write import write_raster
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.card import WeightsCard
from glacierseg.weights.expectation import (
    Expectation,
    WeightsBand,
    doubts,
    likely_unit,
    look_at_facts,
    offset_warning,
    strangeness,
)
from glacierseg.weights.fitting import fit_scene
from glacierseg.weights.own import fit_own
from tests.helpers import utm_grid
from tests.weights import shelves
from tests.weights.shelves import BANDS, facts, reflectances
from tests.weights.test_own import BANDS as OWN_BANDS
from tests.weights.test_own import card_of, ground

ROLES = ("blue", "green", "red", "nir")


def weights_card(values: NDArray[np.generic] | None = None, **changes: object) -> WeightsCard:
    values = reflectances(200, 200, 7) if values is None else values
    bands = [
        WeightsBand(name=name, role=role, unit="x", values=BandValues.of(own.ravel().astype(np.float32)))
        for name, role, own in zip(BANDS, ROLES, values, strict=True)
    ]
    return WeightsCard(
        **facts(**changes).model_dump(), name="w", parameters=1, bands=tuple(bands), pixel_m=10
    )


def found(values: NDArray[np.generic]) -> list[BandValues]:
    measured = measure_values(values.reshape(len(values), -1).astype(np.float32))
    assert measured is not None
    return measured


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v * 1.0, None),
        (lambda v: v * 0.45, None),  # a dark scene
        (lambda v: v * 2.2, None),  # a bright one
        (lambda v: np.concatenate([v[:3] * 0.2, v[3:]]), None),  # forest: dark, but not in the near infrared
        (lambda v: v / 10_000, "has a median of 0."),
        (lambda v: v / 10, "every band is darker"),
        (lambda v: np.median(v, (1, 2), keepdims=True) * 3 + v / 100, None),  # firn all over
        (lambda v: np.median(v, (1, 2), keepdims=True) * 5 + v / 100, "every band is brighter"),
        (lambda v: v * 20.0, "has a median of"),
        (lambda v: np.concatenate([v[:3], v[3:] / 1000]), r"B8 \(nir\) has a median of 2"),
    ],
)
def test_units_are_told_apart_from_ground(change: Callable[..., Any], words: str | None) -> None:
    strange = strangeness(weights_card(), found(change(reflectances().astype(float))))
    if words is None:
        assert strange is None
    else:
        assert strange is not None
        assert re.search(words, strange)


@given(st.sampled_from([1e-4, 1e-3, 1e3, 1e4]), st.integers(0, 99))
def test_another_power_of_ten_is_found_and_named(factor: float, seed: int) -> None:
    values = reflectances(40, 40, seed).astype(float) * factor
    known = weights_card()
    assert strangeness(known, found(values)) is not None
    assert f"--scale {1 / factor:g} " in likely_unit(known, found(values), ["float32"] * 4)


def test_a_cure_is_named_only_where_the_whole_scene_is_alike_then() -> None:
    known = weights_card().model_dump(mode="json")
    known["bands"][3] |= {"name": "heat", "role": "thermal"}
    expected = WeightsCard.model_validate(known)
    values = reflectances().astype(float)
    light = np.concatenate([values[:3] / 1e4, values[3:]])
    assert "--scale 10000 would" in likely_unit(expected, found(light), ["float32"] * 4)
    both = np.concatenate([values[:3] / 1e4, values[3:] / 1e4])
    assert "heat (thermal) has a median of 0.27" in (strangeness(expected, found(both)) or "")
    assert likely_unit(expected, found(both), ["float32"] * 4) == ""
    # Another season may be warmer than all that was seen.
    flat = known["bands"][3]["values"] | {
        "low": 2600.0,
        "p5": 2610.0,
        "p25": 2650.0,
        "p95": 2790.0,
        "high": 2800.0,
    }
    known["bands"][3]["values"] = flat
    warmer = np.concatenate([values[:3], 2900 + values[3:] / 1000])
    expected = WeightsCard.model_validate(known)
    assert strangeness(expected, found(warmer)) is None
    assert "heat (thermal) has a median of 290" in doubts(expected, found(warmer))[0]


def test_heat_does_not_hide_that_all_light_is_darker() -> None:
    known = weights_card().model_dump(mode="json")
    known["bands"][3] |= {"name": "heat", "role": "thermal"}
    values = reflectances().astype(float)
    values[:3] /= 10
    assert "every band is darker" in (strangeness(WeightsCard.model_validate(known), found(values)) or "")
    assert strangeness(weights_card(), found(values)) is None


def test_eight_bits_are_named() -> None:
    levels = (reflectances() / 65).clip(0, 255).astype(np.uint8)
    assert "8-bit levels" in likely_unit(weights_card(), found(levels), ["uint8"] * 4)
    # Weights for 8-bit levels do not wonder about them.
    assert likely_unit(weights_card(levels), found(levels), ["uint8"] * 4) == ""


def test_the_offset_of_new_sentinel_2_products_is_noticed() -> None:
    values = reflectances().astype(float)
    assert offset_warning(weights_card(), found(values)) is None
    assert "--offset=-1000" in (offset_warning(weights_card(), found(values + 1000)) or "")
    # Shadow may be everywhere in a forest.
    assert "--offset=-1000" in (offset_warning(weights_card(), found(values / 4 + 1000)) or "")
    # Not for another sensor, nor where the training had the offset itself.
    assert offset_warning(weights_card(sensor="landsat8"), found(values + 1000)) is None
    assert offset_warning(weights_card(reflectances() + 1000), found(values + 1000)) is None


REFLECTANCE, TIMES_10000 = UNITS[0].name, UNITS[1].name
SUMMER = date(2020, 8, 20)


def scene(
    folder: Path,
    name: str,
    facts: SceneFacts,
    values: NDArray[np.float32] | None = None,
    latitude: float | None = None,
) -> Scene:
    found = ground() if values is None else values
    path = folder / f"{name}.tif"
    grid = utm_grid(*found.shape[1:])
    if latitude is not None:
        shift = Affine.translation(-70.0, latitude) * Affine.scale(1e-4, -1e-4)
        grid = Grid(CRS.from_epsg(4326), shift, *found.shape[1:])
    write_raster(path, found, grid, bands=OWN_BANDS, nodata=None, tags=facts.tags, cog=False)
    return open_scene(path)


def trained(folder: Path, unit: str = TIMES_10000, day: date | None = SUMMER) -> tuple[str, ModelCard]:
    return "net", card_of(scene(folder, "training", SceneFacts(first_date=day, unit=unit)))


def test_a_card_keeps_the_unit_and_the_days_that_files_tell(tmp_path: Path) -> None:
    scenes = [
        scene(tmp_path, "a", SceneFacts(first_date=SUMMER, last_date=date(2020, 8, 23), unit=REFLECTANCE)),
        scene(tmp_path, "b", SceneFacts(first_date=date(2019, 9, 1), unit=REFLECTANCE)),
    ]
    card = card_of(*scenes)
    assert card.unit == REFLECTANCE  # though the values look like x 10000
    assert card.training_dates == (date(2019, 9, 1), SUMMER, date(2020, 8, 23))
    assert ModelCard.model_validate_json(card.model_dump_json()) == card
    plain = card_of(scene(tmp_path, "c", SceneFacts()))
    assert (plain.unit, plain.training_dates) == (TIMES_10000, ())


def test_a_card_keeps_the_recipe_that_all_files_tell(tmp_path: Path) -> None:
    told = [scene(tmp_path, name, SceneFacts(recipe="sentinel2-18")) for name in "ab"]
    assert card_of(*told).recipe == "sentinel2-18"
    assert card_of(told[0], scene(tmp_path, "c", SceneFacts(recipe="landsat-18"))).recipe == ""
    assert card_of(told[0], scene(tmp_path, "d", SceneFacts())).recipe == ""


def test_another_unit_in_the_tags_is_refused_though_the_values_look_alike(tmp_path: Path) -> None:
    known = [trained(tmp_path)]
    other = scene(tmp_path, "other", SceneFacts(unit=REFLECTANCE))
    with pytest.raises(ValuesError, match=r"tags say reflectance, .* give --scale 10000; or") as refused:
        fit_own(known, other)
    assert str(refused.value).startswith(str(other.paths[0]))
    (told,) = fit_own(known, other, InputSettings(force=True)).warnings
    assert "net was trained on reflectance x 10000" in told
    assert fit_own(known, scene(tmp_path, "same", SceneFacts(unit=TIMES_10000))).warnings == ()
    assert fit_own(known, scene(tmp_path, "odd", SceneFacts(unit="radiance"))).warnings == ()


@pytest.mark.parametrize("unit", UNITS[2:], ids=lambda unit: unit.name[:20])
def test_the_cure_for_another_unit_works(tmp_path: Path, unit: "object") -> None:
    assert isinstance(unit, type(UNITS[0]))
    values = ground()
    values[:3] = (values[:3] / 1e4 - unit.offset) / unit.scale
    other = scene(tmp_path, "other", SceneFacts(unit=unit.name), values)
    known = [trained(tmp_path)]
    with pytest.raises(ValuesError, match="give --") as refused:
        fit_own(known, other)
    found = re.search(r"give (--[^;]*);", str(refused.value))
    assert found
    words = found[1].split()
    options: dict[str, Any] = {
        name.removeprefix("--"): float(value) for name, value in zip(words[::2], words[1::2], strict=True)
    }
    assert fit_own(known, other, InputSettings(**options)).warnings == ()


def test_a_conversion_beside_the_tags_is_a_warning(tmp_path: Path) -> None:
    known = [trained(tmp_path)]
    same = scene(tmp_path, "same", SceneFacts(unit=TIMES_10000))
    (told,) = fit_own(known, same, InputSettings(scale=1.01)).warnings
    assert "tags say reflectance x 10000, which --scale and --offset do not bring to reflectance x" in told
    (told,) = fit_own(known, same, InputSettings(offset=5)).warnings
    assert "do not bring to" in told
    values = ground()
    values[:3] /= 1e4
    # Tags that outlived a change of the values: the cure that the values suggest must work.
    stale = scene(tmp_path, "stale", SceneFacts(unit=TIMES_10000), values)
    with pytest.raises(ValuesError, match="--scale 10000 would make them alike"):
        fit_own(known, stale)
    (told,) = fit_own(known, stale, InputSettings(scale=10000)).warnings
    assert "do not bring to" in told


def test_levels_are_no_reflectance(tmp_path: Path) -> None:
    levels = scene(tmp_path, "levels", SceneFacts(unit=LEVELS_UNIT))
    with pytest.raises(ValuesError, match="give the scene as it was before it was normalized"):
        fit_own([trained(tmp_path)], levels)
    known = trained(tmp_path)
    on_levels = [("net", known[1].model_copy(update={"unit": LEVELS_UNIT}))]
    with pytest.raises(ValuesError, match="normalize it with the --ranges of the training"):
        fit_own(on_levels, scene(tmp_path, "plain", SceneFacts(unit=TIMES_10000)))
    assert fit_own(on_levels, levels).warnings == ()


@pytest.mark.parametrize(
    ("day", "apart"),
    [
        (date(2023, 8, 20), 0),
        (date(2016, 10, 4), 0),
        (date(2016, 10, 5), 46),
        (date(2021, 10, 10), 50),
        (date(2024, 1, 15), 147),
    ],
)
def test_another_season_is_warned_of(tmp_path: Path, day: date, apart: int) -> None:
    told = fit_own([trained(tmp_path)], scene(tmp_path, "b", SceneFacts(first_date=day))).warnings
    assert len(told) == (apart > 0)
    if apart:
        assert f"is of {day}, {apart} days of the year" in told[0]


@pytest.mark.parametrize(
    ("latitude", "day", "apart"),
    [
        (-33.0, date(2024, 2, 19), 0),  # late summer of the Andes
        (-33.0, date(2024, 4, 20), 60),
        (-33.0, date(2024, 9, 15), 156),  # winter there
        (46.0, date(2024, 9, 15), 0),
        (46.0, date(2024, 2, 19), 182),
        (-9.0, date(2024, 2, 19), 0),  # no summer and winter in the tropics
        (9.0, date(2024, 2, 19), 0),
    ],
)
def test_seasons_of_the_other_hemisphere_are_half_a_year_later(
    tmp_path: Path, latitude: float, day: date, apart: int
) -> None:
    other = scene(tmp_path, "b", SceneFacts(first_date=day), latitude=latitude)
    told = [line for line in fit_own([trained(tmp_path)], other).warnings if "away from" in line]
    assert len(told) == (apart > 0)
    if apart:
        assert f"is of {day}, {apart} days " in told[0]
        assert ("of the other hemisphere" in told[0]) == (latitude < 0)


def test_training_in_both_hemispheres_has_no_one_season(tmp_path: Path) -> None:
    scenes = [
        scene(tmp_path, "a", SceneFacts(first_date=SUMMER)),
        scene(tmp_path, "b", SceneFacts(first_date=date(2020, 2, 20)), latitude=-40.0),
        scene(tmp_path, "c", SceneFacts(), latitude=-60.0),
    ]
    card = card_of(*scenes)
    assert card.training_latitudes == pytest.approx((-40, 32.5), abs=0.5)
    winter = scene(tmp_path, "w", SceneFacts(first_date=date(2020, 5, 20)))
    assert not [line for line in fit_own([("net", card)], winter).warnings if "away from" in line]
    assert ModelCard.model_validate_json(card.model_dump_json()) == card


def test_one_day_in_season_is_enough(tmp_path: Path) -> None:
    facts = SceneFacts(first_date=date(2021, 1, 15), last_date=date(2021, 8, 22))
    assert fit_own([trained(tmp_path)], scene(tmp_path, "b", facts)).warnings == ()


def test_levels_of_terrain_are_compared_too() -> None:
    """Normalizing changes all bands, not only light."""
    band = weights_card().bands[0].model_copy(update={"name": "elevation", "role": None, "unit": LEVELS_UNIT})
    expected = cast("Expectation", SimpleNamespace(name="net", bands=(band,), training_dates=()))
    other = cast("Scene", SimpleNamespace(paths=(Path("a.tif"),), grid=utm_grid(8, 8)))
    with pytest.raises(ValuesError, match="normalize it with the --ranges of the training"):
        look_at_facts(expected, SceneFacts(unit=REFLECTANCE), other, InputSettings())


def test_nothing_is_said_of_a_season_that_is_not_known(tmp_path: Path) -> None:
    winter = scene(tmp_path, "winter", SceneFacts(first_date=date(2020, 1, 15)))
    assert fit_own([trained(tmp_path, day=None)], winter).warnings == ()


def test_weights_by_name_look_at_unit_season_and_sensor(tmp_path: Path) -> None:
    plain = weights_card()
    bands = tuple(band.model_copy(update={"unit": TIMES_10000}) for band in plain.bands)
    card = plain.model_copy(
        update={"training_dates": (SUMMER,), "training_latitudes": (32.0, 33.0), "bands": bands}
    )
    values = shelves.reflectances(64, 64, 3)
    facts = SceneFacts(first_date=date(2020, 1, 15), sensor="landsat8", unit=TIMES_10000)
    path = tmp_path / "scene.tif"
    names = ["blue", "green", "red", "nir"]
    for own in (facts, replace(facts, unit=REFLECTANCE)):
        write_raster(path, values, utm_grid(64, 64), bands=names, nodata=None, tags=own.tags, cog=False)
        if own.unit == REFLECTANCE:
            with pytest.raises(ValuesError, match="tags say reflectance, "):
                fit_scene(card, open_scene(path))
        else:
            told = "\n".join(fit_scene(card, open_scene(path)).warnings)
            assert "is of landsat8" in told
            assert "147 days of the year" in told


def test_maps_keep_the_facts_of_their_scene_and_are_up_to_date(tmp_path: Path) -> None:
    from glacierseg.predict.ensemble import load_ensemble
    from glacierseg.predict.scene import finished_files
    from glacierseg.settings.predict import PredictSettings

    facts = SceneFacts(
        first_date=SUMMER,
        last_date=SUMMER,
        sensor="sentinel2",
        products=("S2A_1", "S2B <&> 2"),
        masked=("cloud",),
    )
    values = shelves.reflectances(64, 64, 3)
    path = tmp_path / "scene.tif"
    names = list(shelves.BANDS)
    write_raster(path, values, utm_grid(64, 64), bands=names, nodata=None, tags=facts.tags, cog=False)
    model = shelves.model_folder(tmp_path / "model")
    files = predict_scene(model, path, tmp_path / "maps")
    assert facts_of(files.probability) == facts_of(files.mask) == facts
    ensemble = load_ensemble(model)
    assert finished_files(ensemble, open_scene(path), tmp_path / "maps", PredictSettings()) == files
