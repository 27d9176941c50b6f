from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glacierseg.errors import GlaciersegWarning, RequestError, ValuesError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.values import measure_values, sample_values
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.own import expectation_of, facts_of_scenes, fit_own, unlike_training
from tests.helpers import write_scene

BANDS = ("blue", "red", "swir1", "elevation")


def ground(seed: int = 0, lift_m: float = 0.0, side_px: int = 96) -> np.ndarray:
    """Reflectance x 10000 in three bands, with shadow, and elevation."""
    rng = np.random.default_rng(seed)
    ice = rng.random((side_px, side_px)) < 0.4
    light = np.stack([np.where(ice, a, b) for a, b in ((7000, 1500), (6800, 2000), (600, 3000))])
    light = light * rng.uniform(0.7, 1.3, light.shape)
    light[:, rng.random(ice.shape) < 0.05] *= 0.1
    height = 5000 + lift_m + 10 * np.arange(side_px)[:, None] + np.zeros(side_px)
    return np.concatenate([light, height[None]]).astype(np.float32)


def scene(folder: Path, name: str, values: np.ndarray, pixel_m: float = 10.0) -> Scene:
    return open_scene(write_scene(folder / f"{name}.tif", values, BANDS, pixel_m=pixel_m))


def card_of(*scenes: Scene) -> ModelCard:
    values = measure_values(np.concatenate([sample_values(own) for own in scenes], axis=1))
    assert values is not None
    return ModelCard(
        architecture="m_landsnet",
        width=0.125,
        bands=BANDS,
        band_mean=tuple(own.median for own in values),
        band_std=(1500.0, 1500.0, 1500.0, 100.0),
        patch_px=32,
        **facts_of_scenes(scenes, values),
    )


def test_a_band_that_may_be_missing_is_not_judged(tmp_path: Path) -> None:
    card = card_of(scene(tmp_path, "a", ground())).model_copy(update={"may_miss": ("elevation", "red")})
    network = card.build()
    save_model(tmp_path / "model", network, card)
    path = write_scene(tmp_path / "b.tif", ground(1)[:3], BANDS[:3])
    with pytest.warns(GlaciersegWarning) as told:
        predict_scene(tmp_path / "model", path, tmp_path / "out")
    assert [str(one.message).split(";")[0] for one in told] == [f"{path}: has no data of elevation"]
    # The bands that are there are judged as ever.
    dark = write_scene(tmp_path / "c.tif", ground(1)[:3] / 1e4, BANDS[:3])
    with pytest.raises(ValuesError, match="is unlike what"):
        predict_scene(tmp_path / "model", dark, tmp_path / "out")


def test_a_card_knows_what_the_training_scenes_held(tmp_path: Path) -> None:
    card = card_of(scene(tmp_path, "a", ground()), scene(tmp_path, "b", ground(1), pixel_m=12.0))
    assert card.unit == "reflectance x 10000"
    assert card.pixel_m == 11
    assert card.ranges == {}
    values = np.concatenate([ground()[1].ravel(), ground(1)[1].ravel()])
    assert card.band_values[1].median == pytest.approx(np.median(values), rel=0.02)
    assert ModelCard.model_validate_json(card.model_dump_json()) == card
    expected = expectation_of(card, "runs/a")
    assert expected is not None
    assert [band.is_reflected_light for band in expected.bands] == [True, True, True, False]
    assert card_of(scene(tmp_path, "c", ground() / 1e4)).unit == "reflectance"


def test_a_card_of_an_earlier_version_expects_nothing(tmp_path: Path) -> None:
    own = scene(tmp_path, "a", ground())
    card = card_of(own).model_copy(update={"band_values": (), "ranges": {}, "pixel_m": None})
    assert expectation_of(card, "old") is None
    assert fit_own([("old", card)], scene(tmp_path, "b", ground() / 1e4)).warnings == ()


def test_the_same_ground_and_other_basins_pass(tmp_path: Path) -> None:
    known = [("net", card_of(scene(tmp_path, "a", ground())))]
    assert fit_own(known, scene(tmp_path, "b", ground(1))).warnings == ()
    (told,) = fit_own(known, scene(tmp_path, "c", ground(1, lift_m=900))).warnings
    assert "elevation has a median of" in told
    (told,) = fit_own(known, scene(tmp_path, "d", ground(1), pixel_m=30.0)).warnings
    assert "30 m wide on the ground, and net was trained on 10 m" in told


@pytest.mark.parametrize(
    ("scale", "offset", "cure"),
    [(1e-4, 0.0, "--scale 10000"), (1e-4, 0.1, "--scale 10000 --offset -1000"), (1e-2, 0.0, "--scale 100")],
)
def test_another_unit_is_refused_and_the_cure_works(
    tmp_path: Path, scale: float, offset: float, cure: str
) -> None:
    known = [("net", card_of(scene(tmp_path, "a", ground())))]
    values = ground(1)
    values[:3] = values[:3] * scale + offset
    other = scene(tmp_path, "b", values)
    with pytest.raises(ValuesError, match=f"unlike what net was trained on: .*; {cure} would make") as caught:
        fit_own(known, other)
    assert "\n" not in str(caught.value)
    words = cure.split()
    typed: dict[str, Any] = {
        name.removeprefix("--"): float(value) for name, value in zip(words[::2], words[1::2], strict=True)
    }
    fitted = fit_own(known, other, InputSettings(**typed))
    assert fitted.warnings == ()
    with fitted.scene.open() as reader:
        found = reader.read(0, 0, 96, 96)[0]
    np.testing.assert_allclose(found, ground(1), rtol=1e-3, atol=1)
    (forced,) = fit_own(known, other, InputSettings(force=True)).warnings
    assert "unlike what net was trained on" in forced


def test_no_scale_is_promised_for_what_is_no_light(tmp_path: Path) -> None:
    known = [("net", card_of(scene(tmp_path, "a", ground())))]
    values = ground(1)
    values[3] *= 3.28
    with pytest.raises(ValuesError, match=r"elevation has a median of 1\d+.*; bring it to that unit first;"):
        fit_own(known, scene(tmp_path, "feet", values))
    with pytest.raises(RequestError, match="scale: must not be 0"):
        fit_own(known, scene(tmp_path, "b", ground(1)), InputSettings(scale=0))


def test_an_offset_that_the_training_lacks_is_told(tmp_path: Path) -> None:
    known = [("net", card_of(scene(tmp_path, "a", ground())))]
    values = ground(1)
    values[:3] += 1000
    (told,) = fit_own(known, scene(tmp_path, "b", values)).warnings
    assert "take it off with --offset=-1000" in told
    assert fit_own(known, scene(tmp_path, "c", values), InputSettings(offset=-1000)).warnings == ()


def test_levels_are_compared_by_the_ranges_that_made_them(tmp_path: Path) -> None:
    def levels(name: str, values: np.ndarray, ranges: str = "r.json") -> Scene:
        raw = scene(tmp_path, f"raw_{name}", values)
        return open_scene(normalize_scene(raw, tmp_path / f"{name}.tif", tmp_path / ranges))

    first = levels("a", ground())
    card = card_of(first)
    assert card.unit == "8-bit levels"
    assert set(card.ranges) == set(BANDS)
    known = [("net", card)]
    assert fit_own(known, levels("b", ground(1))).warnings == ()
    # Not normalized at all.
    with pytest.raises(ValuesError, match="normalize it as its training scenes were, with their --ranges"):
        fit_own(known, scene(tmp_path, "raw", ground(1)))
    # By ranges of its own.
    with pytest.raises(ValuesError, match="by other ranges than what net was trained on: blue"):
        fit_own(known, levels("c", ground(1, lift_m=3), "other.json"))
    # With an offset that the training lacks.
    lifted = ground(1)
    lifted[:3] += 1000
    with pytest.warns(GlaciersegWarning, match="--offset -1000"):
        own = levels("d", lifted)
    assert any("before it was normalized, hardly a pixel" in line for line in fit_own(known, own).warnings)


def test_flat_light_is_refused(tmp_path: Path) -> None:
    known = [("net", card_of(scene(tmp_path, "a", ground())))]
    values = ground(1)
    values[:3] = values[:3].mean((1, 2), keepdims=True)
    with pytest.raises(ValuesError, match="every band has one value everywhere"):
        fit_own(known, scene(tmp_path, "b", values))


def test_going_on_from_a_training_in_another_unit_is_told(tmp_path: Path) -> None:
    card, other = card_of(scene(tmp_path, "a", ground())), card_of(scene(tmp_path, "b", ground() / 1e4))
    assert unlike_training(card, BANDS, card.band_values, "net") is None
    assert unlike_training(card, BANDS[1:], card.band_values[1:], "net") is None
    told = unlike_training(card, BANDS[1:3], other.band_values[1:3], "net")
    assert "has a median of 0." in (told or "")
    assert unlike_training(card, ("x",), card.band_values[:1], "net") is None


def test_prediction_asks_the_card_of_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = card_of(scene(tmp_path, "a", ground(side_px=64)))
    save_model(tmp_path / "net", card.build(), card)
    other = scene(tmp_path, "b", ground(1, side_px=64) / 1e4)
    with pytest.raises(ValuesError, match="unlike what"):
        predict_scene(tmp_path / "net", other, tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
    # Who gives the network itself knows what it is given.
    predict_scene(card.build().eval(), other, tmp_path / "maps", card=card)
