"""What sections of a configuration make of their keys."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from glacierseg.errors import ConfigError, RequestError
from glacierseg.models.registry import model_spec
from glacierseg.settings import (
    ModelConfig,
    PartConfig,
    RunConfig,
    TrainSettings,
    dump_config,
    is_missing,
    parse_config,
)
from glacierseg.settings.sections import BandsConfig, SplitConfig

REGION = {"name": "a", "scene": ["s.tif", "t.tif"], "truth": "m.gpkg", "roles": "train"}


def parsed(folder: Path, **changes: Any) -> RunConfig:
    return parse_config({"name": "basin", "regions": [REGION], **changes}, folder / "run.yaml")


def test_paths_lie_beside_the_file_at_home_or_where_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    roles = {"train": {"polygon": "/p/a.gpkg"}, "test": {"polygon": "b.gpkg"}}
    layers = {"velocity": "~/v.tif"}
    region = {**REGION, "roles": roles, "layers": layers, "dem": "dem.tif"}
    config = parsed(tmp_path, regions=[region], bands={"recipe": ["red", "velocity"]})
    assert config.regions[0].files == (
        tmp_path / "s.tif", tmp_path / "t.tif", tmp_path / "m.gpkg", tmp_path / "dem.tif",
        Path("/home/me/v.tif"), Path("/p/a.gpkg"), tmp_path / "b.gpkg",
    )  # fmt: skip
    starts = [
        parsed(tmp_path, models=[{"name": "glavitu", "start_from": start}]).models[0].start_from
        for start in ("weights:alps", "runs/a", "~/a", "/a")
    ]
    assert starts == [Path("weights:alps"), tmp_path / "runs/a", Path("/home/me/a"), Path("/a")]


def test_what_only_gdal_finds_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    assert not is_missing(tmp_path / "a.tif")
    assert not is_missing(Path("/vsizip/a.zip/a.tif"))
    assert not is_missing(Path("NETCDF:v.nc:vx"))
    assert is_missing(tmp_path / "b.tif")


def test_a_network_overrides_the_training_section_and_that_its_own_defaults() -> None:
    spec = model_spec("unetplusplus")
    plain = ModelConfig(name="unetplusplus").training_plan(TrainSettings(), 18)
    assert (plain.loss, plain.learning_rate) == (spec.loss, spec.learning_rate)
    assert (plain.clip_norm, plain.glacier_share) == (spec.clip_norm, None)
    # The original trains it on six bands with half the batch.
    for bands, batch_size in ((7, spec.batch_size), (6, spec.batch_size_six_bands)):
        assert ModelConfig(name="unetplusplus").training_plan(TrainSettings(), bands).batch_size == batch_size
    assert spec.batch_size != spec.batch_size_six_bands
    section = TrainSettings(
        epochs=5, monitor="val_loss", clip_norm=0.5, batch_size=3, patches_per_epoch=7, weight_decay=0.1
    )
    plan = ModelConfig(name="glavitu").training_plan(section, 18, 0.25)
    given = ("epochs", "monitor", "clip_norm", "batch_size", "patches_per_epoch", "weight_decay")
    assert [getattr(plan, key) for key in given] == [5, "val_loss", 0.5, 3, 7, 0.1]
    assert plan.glacier_share == 0.25
    own: dict[str, Any] = {
        "epochs": 6, "monitor": "last", "batch_size": 4, "patches_per_epoch": 8, "loss": "focal",
        "learning_rate": 0.2,
    }  # fmt: skip
    plan = ModelConfig(name="glavitu", **own).training_plan(section, 18)
    assert {key: getattr(plan, key) for key in own} == own


def test_the_largest_patch_is_that_of_all_networks(tmp_path: Path) -> None:
    config = parsed(tmp_path, models=["glavitu", {"name": "m_landsnet", "patch_px": 96}])
    assert config.largest_patch_px == 96


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (PartConfig, {"x": (0.5, 0.5)}, "x: goes from 0.5 to 0.5"),
        (SplitConfig, {"folds": 4, "fold": 5}, "fold is 5, but there are only 4 folds"),
        (SplitConfig, {"holdout_share": 0.6}, "holdout_share must be less than or equal to 0.5"),
        (BandsConfig, {"modalities": {"a": ("x",), "b": ("x",)}}, "band 'x' is listed twice"),
        (BandsConfig, {"top_preset": "original", "recipe": "landsat-18"}, "only himalaya-18 makes"),
        (BandsConfig, {"scale": 0}, "scale: must not be 0"),
    ],
)
def test_what_cannot_be_is_refused(kind: Any, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        kind(**wrong)


def test_the_last_fold_and_the_stack_of_the_original_are_no_mistake() -> None:
    assert SplitConfig(folds=4, fold=4).fold == 4
    assert BandsConfig(top_preset="original", recipe="himalaya-18").recipe == "himalaya-18"


def test_a_part_for_every_role_or_for_none(tmp_path: Path) -> None:
    region = {**REGION, "roles": {"train": {"x": [0, 0.5]}, "test": None}}
    with pytest.raises(ConfigError, match="for every role of the region, or for none"):
        parsed(tmp_path, regions=[region])


def test_teachers_are_networks_of_the_run_folders_beside_the_file_or_weights() -> None:
    region = {"name": "a", "scene": "a.tif", "truth": "m.tif", "roles": "train"}
    teachers = ["glavitu", "runs/old/glavitu/all", "weights:alps-sentinel2", "./glavitu"]
    asked = {"student": {"name": "m_landsnet", "patch_px": 512}, "teachers": teachers, "scenes": "b.tif"}
    config = parse_config({"name": "a", "regions": [region], "distil": asked}, Path("/data/run.yaml"))
    assert config.distil.teachers == (
        "glavitu", "/data/runs/old/glavitu/all", "weights:alps-sentinel2", "/data/glavitu"
    )  # fmt: skip
    assert config.distil.scenes == (Path("/data/b.tif"),)
    assert config.largest_patch_px == 512
    assert [model.name for model in config.networks][-1] == "m_landsnet"
    again = parse_config(yaml.safe_load(dump_config(config)), Path("/elsewhere/run.yaml"))
    assert again == config
