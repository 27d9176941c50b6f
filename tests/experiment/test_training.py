import json
from pathlib import Path
from typing import Any

import pytest

from glacierseg.errors import BandError
from glacierseg.experiment import train_one
from glacierseg.experiment.training import augmentation, check_named_bands, modalities_by_name
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.settings import BandsConfig, ModelConfig, PatchConfig, RunConfig, parse_config
from tests.helpers import blobs, easy_scene, write_mask, write_scene


def test_a_model_wins_over_the_section_and_the_section_over_the_networks_defaults() -> None:
    own = {"epochs": 7, "monitor": "last", "learning_rate": 0.02, "loss": "dice", "batch_size": 3}
    config = parse_config(
        {
            "name": "basin",
            "regions": [{"name": "a", "scene": "a.tif", "truth": "m.tif", "roles": "train"}],
            "models": ["m_landsnet", {"name": "glavitu", **own}],
            "training": {"epochs": 9, "monitor": "val_loss", "clip_norm": 0.5},
        },
        Path("/data/run.yaml"),
    )
    plain, changed = (model.training_plan(config.training, 4) for model in config.models)
    assert (plain.epochs, plain.monitor, plain.learning_rate, plain.loss) == (
        9,
        "val_loss",
        1e-3,
        "dice_focal",
    )
    assert {key: getattr(changed, key) for key in own} == own
    assert plain.clip_norm == changed.clip_norm == 0.5


def small_config(folder: Path, model: dict[str, Any]) -> RunConfig:
    mask = blobs(64, 96, 4)
    write_scene(folder / "s.tif", easy_scene(mask, 3), ["a", "b", "c"])
    write_mask(folder / "m.tif", mask)
    parts = {"train": {"x": [0, 0.5]}, "validate": {"x": [0.5, 0.75]}, "test": {"x": [0.75, 1]}}
    return parse_config(
        {
            "name": "basin",
            "regions": [{"name": "a", "scene": "s.tif", "truth": "m.tif", "roles": parts}],
            "models": [model],
            "bands": {"top": 2, "check": False, "logarithm": "all"},
            "training": {"epochs": 4, "schedule": "cosine", "monitor": "last"},
            "outputs": {"outlines": "none", "report": False},
        },
        folder / "c.yaml",
    )


@pytest.mark.parametrize(
    ("own", "expected"), [({}, 0.3), ({"brightness": 0}, 0.0), ({"brightness": 0.1}, 0.1)]
)
def test_a_model_may_have_another_light_than_the_rest(
    tmp_path: Path, own: dict[str, Any], expected: float
) -> None:
    config = small_config(tmp_path, {"name": "m_landsnet", **own})
    found = augmentation(config.models[0], PatchConfig(brightness=0.3), {}, ("a", "b", "c"))
    assert found.brightness == expected


def test_what_shall_happen_to_patches_does() -> None:
    asked: dict[str, Any] = {
        "zoom": 0.11,
        "gamma": 0.12,
        "noise": 0.13,
        "band_dropout": 0.14,
        "modality_dropout": 0.15,
    }
    model = ModelConfig(name="m_landsnet")
    found = augmentation(model, PatchConfig(augment=False, **asked), {}, ("a", "b", "c"))
    assert {name: getattr(found, name) for name in asked} == asked
    assert not found.symmetries


@pytest.mark.parametrize(
    ("own", "expected"), [({}, [True] * 3), ({"logarithm": ["b"]}, [False, True, False])]
)
def test_a_model_may_see_other_logarithms_than_the_rest(
    tmp_path: Path, own: dict[str, Any], expected: list[bool]
) -> None:
    model = {"name": "m_landsnet", "width": 0.125, "patch_px": 16, "epochs": 1, **own}
    folder = train_one(small_config(tmp_path, model), "m_landsnet", None, tmp_path / "out")
    card = json.loads((folder / "model.json").read_text())
    assert [floor is not None for floor in card["band_log_floor"]] == expected


def test_bands_that_may_be_missing_are_recorded(tmp_path: Path) -> None:
    """By their names where the configuration groups none: light is always there."""
    model = {"name": "m_landsnet", "width": 0.125, "patch_px": 16, "epochs": 1}
    config = small_config(tmp_path, model)
    names = ["red", "velocity", "thermal", "my_band"]
    write_scene(tmp_path / "s.tif", easy_scene(blobs(64, 96, 4), 4), names)
    changed = {"bands": BandsConfig(top=0), "patch": PatchConfig(modality_dropout=0.3)}
    config = config.model_copy(update=changed)
    folder = train_one(config, "m_landsnet", None, tmp_path / "out")
    assert json.loads((folder / "model.json").read_text())["may_miss"] == ["velocity", "thermal"]


def test_modalities_by_name_are_those_of_the_original_stack() -> None:
    assert modalities_by_name(RECIPES["himalaya-18"]) == {
        "terrain": (
            "elevation",
            "curvature_profile",
            "slope",
            "aspect",
            "curvature_tangential",
            "unsphericity",
        ),
        "radar": ("coherence", "persistent_scatterer", "backscatter"),
        "motion": ("dh_dt", "divergence", "velocity"),
        "thermal": ("thermal",),
    }


def test_logarithms_of_bands_that_are_not_there_are_refused(tmp_path: Path) -> None:
    config = small_config(tmp_path, {"name": "m_landsnet", "logarithm": ["nirr"]})
    with pytest.raises(BandError, match=r"logarithm of m_landsnet names band 'nirr'.*did you mean 'nir'"):
        check_named_bands(config.bands, config.models, ("red", "nir"))


@pytest.mark.parametrize(("patch", "reach_px"), [({}, 4), ({"augment": False}, 0)])
def test_the_leak_counts_as_far_as_training_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: dict[str, Any], reach_px: int
) -> None:
    reached: list[int] = []

    def leak_share(*_: object, **given: Any) -> float:
        reached.append(given["reach_px"])
        return 0.25

    monkeypatch.setattr("glacierseg.experiment.training.leak_share", leak_share)
    config = small_config(tmp_path, {"name": "m_landsnet", "width": 0.125, "patch_px": 16, "epochs": 1})
    config = config.model_copy(update={"patch": PatchConfig(**patch)})
    train_one(config, "m_landsnet", None, tmp_path / "out")
    assert reached == [reach_px]
