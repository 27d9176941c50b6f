import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from glacierseg.errors import ConfigError
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.settings import dump_config, first_difference, load_config, parse_config
from glacierseg.settings.template import template as commented

BASE: dict[str, Any] = {
    "name": "basin",
    "regions": [
        {
            "name": "khumbu",
            "scene": "a.tif",
            "truth": "m.gpkg",
            "roles": {"train": {"x": [0.5, 1]}, "test": {"x": [0, 0.4]}},
        }
    ],
}
FILE = Path("/data/basin/run.yaml")


def test_paths_are_relative_to_the_file_and_defaults_are_spelled_out() -> None:
    config = parse_config(BASE, FILE)
    assert config.regions[0].scene == (Path("/data/basin/a.tif"),)
    assert config.regions[0].truth == Path("/data/basin/m.gpkg")
    assert [model.name for model in config.models] == ["glavitu", "m_landsnet", "unetplusplus"]
    dumped = yaml.safe_load(dump_config(config))
    assert dumped["training"]["patience"] == 20
    assert dumped["split"]["method"] == "spatial"
    assert dumped["split"]["seed"] == 100
    assert parse_config(dumped, Path("/elsewhere/x.yaml")) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibrated", True),
        ("confidence", 0.8),
        ("int8_model", "a.xml"),
        ("prune_level", 2),
        ("precision", "int8"),
    ],
)
def test_what_concerns_predict_alone_is_refused_in_a_run(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"prediction\.{key} (is for `glacierseg predict`|must be auto,)"):
        parse_config(BASE | {"prediction": {key: value}}, FILE)


def test_networks_of_the_zoo_are_known_by_their_form() -> None:
    models = [
        {"name": "smp:Unet/resnet34", "options": {"encoder_weights": "imagenet"}},
        "smp:FPN/tu-resnet18",
    ]
    config = parse_config({**BASE, "models": models}, FILE)
    assert [model.name for model in config.models] == ["smp:Unet/resnet34", "smp:FPN/tu-resnet18"]
    assert [model.resolved_patch_px for model in config.models] == [256, 256]
    assert parse_config(yaml.safe_load(dump_config(config)), FILE) == config


def test_a_fold_may_be_chosen_from_outside(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**BASE, "split": {"method": "kfold", "folds": 4}}))
    assert load_config(path).split.fold == 1
    assert load_config(path, fold=3).split.fold == 3
    with pytest.raises(ConfigError, match="fold is 5, but there are only 4 folds"):
        load_config(path, fold=5)
    path.write_text(yaml.safe_dump(BASE))
    with pytest.raises(ConfigError, match=r"split\.method is spatial, so there are no folds"):
        load_config(path, fold=1)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [("test", {"test": None}), (["train", "validate"], {"train": None, "validate": None})],
)
def test_roles_may_be_a_name_or_a_list(roles: object, expected: dict[str, None]) -> None:
    data = copy.deepcopy(BASE)
    data["regions"].append({**data["regions"][0], "name": "other", "roles": roles})
    assert parse_config(data, FILE).regions[1].roles == expected


def region(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["regions"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(trainin={}), "unknown key 'trainin' (did you mean 'training'?)"),
        (lambda d: d.update(training={"epoch": 3}), "unknown key 'training.epoch' (did you mean 'epochs'?)"),
        (region(nodta=0), "unknown key 'regions[khumbu].nodta' (did you mean 'nodata'?)"),
        (lambda d: d["regions"][0].pop("roles"), "regions[khumbu].roles is missing; give the region `roles:"),
        (lambda d: d.pop("name"), "name is missing; give the run a name"),
        (lambda d: d.pop("regions"), "regions is missing; list scenes there, each with name, scene, truth"),
        (lambda d: d["regions"][0].pop("name"), "regions[0].name is missing; give the region a name"),
        (lambda d: d["regions"][0].pop("scene"), "regions[khumbu].scene is missing; give the file of"),
        (lambda d: d["regions"][0].pop("truth"), "regions[khumbu].truth is missing; give the outlines or"),
        (lambda d: d.update(models=[{"width": 2}]), "models[0].name is missing; give one of glavitu, m_land"),
        (
            lambda d: d.update(models=[{"name": "glavitu", "options": {"depth": 3}}]),
            "models[glavitu]: glavitu has no option 'depth'; it has no options",
        ),
        (
            lambda d: d.update(models=[{"name": "glavitu_global", "options": {"grups": [[0]]}}]),
            "models[glavitu_global]: glavitu_global has no option 'grups' (did you mean 'groups'?)",
        ),
        (
            lambda d: d.update(models=[{"name": "glavitu_global", "options": {"groups": "all"}}]),
            "models[glavitu_global]: option groups of glavitu_global is 'all'",
        ),
        (region(roles={}), "regions[khumbu].roles: is empty"),
        (region(roles="tran"), "regions[khumbu].roles.tran must be 'train', 'validate' or 'test'"),
        (region(roles="test"), "no region has the role train"),
        (region(roles={"train": {"x": [1, 0]}}), "regions[khumbu].roles.train.x: goes from 1 to 0"),
        (region(roles={"train": {"xx": [0, 1]}}), "unknown key 'regions[khumbu].roles.train.xx'"),
        (region(roles={"train": {"polgon": "a.gpkg"}}), "roles.train.polgon' (did you mean 'polygon'?)"),
        (lambda d: d.update(bands={"use": "al"}), "(2) bands.use must be a list, such as [al] (got 'al')"),
        (lambda d: d.update(bands={"top_preset": "a"}), "(2) bands.top_preset must be a valid dictionary"),
        (lambda d: d.update(name="a b"), "name: string should match pattern"),
        (lambda d: d.update(split={"x": 1}), "unknown key 'split.x'; known keys are method, holdout_share, "),
        (region(roles={"train": {"x": [0, 1]}, "test": None}), "give a part (x, y or polygon) for every"),
        (lambda d: d.update(models=["unetpluplus"]), "called 'unetpluplus' (did you mean 'unetplusplus'?)"),
        (lambda d: d.update(models=[{"name": "glavitu", "widht": 2}]), "(did you mean 'width'?)"),
        (lambda d: d.update(models=["glavitu", "glavitu"]), "model 'glavitu' is named twice"),
        (lambda d: d.update(models=["smp:Unet"]), "'smp:Unet' is not of the form smp:<Archi"),
        (
            lambda d: d.update(models=["smp:Unet/resnet34", "smp:unet/resnet34"]),
            "'smp:Unet/resnet34' and 'smp:unet/resnet34' would share a folder",
        ),
        (lambda d: d["regions"].append(d["regions"][0]), "region 'khumbu' is named twice"),
        (lambda d: d.update(regions=[]), "regions is empty; "),
        (lambda d: d.update(refinement={"steps": ["fill", "fill"]}), "'fill' is named twice"),
        (lambda d: d.update(refinement={"steps": []}), "give at least one step"),
        (lambda d: d.update(refinement={"max_hole_slope_deg": 40}), "has no dem; name its file"),
        (lambda d: d.update(refinement={"iterations": []}), "give at least one value to try"),
    ],
)  # fmt: skip
def test_a_mistake_gives_one_line_with_its_place(change: Callable[[Any], object], message: str) -> None:
    data = copy.deepcopy(BASE)
    change(data)
    with pytest.raises(ConfigError) as caught:
        parse_config(data, FILE)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{FILE}: ")
    assert "\n" not in str(caught.value)


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    path = tmp_path / "c.yaml"
    data = {**copy.deepcopy(BASE), "trainin": {"epochs": 3}, "split": {"method": "spatail", "folds": 2}}
    data["regions"][0]["dem"] = "dem.tif"
    data["regions"].append({**data["regions"][0], "roles": "tran"})
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{path}: has 7 faults: (1) ")
    for fault in (
        "unknown key 'trainin' (did you mean 'training'?)", "split.method must be ",
        "split.folds must be ", "roles.tran must be ",
        "region 'khumbu' is named twice", "regions[khumbu].truth: m.gpkg: no such file; check the path",
        "regions[khumbu].dem: dem.tif: no such file",
    ):  # fmt: skip
        assert fault in said
    assert "a.tif" not in said
    assert "(7) " in said


def test_a_file_in_the_home_folder_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.tif").touch()
    path = tmp_path / "folder/c.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({**BASE, "regions": [{**BASE["regions"][0], "scene": "~/a.tif"}], "b": 1}))
    with pytest.raises(ConfigError, match=r"m\.gpkg: no such file") as caught:
        load_config(path)
    assert "a.tif" not in str(caught.value)


def test_what_depends_on_several_keys_is_told_beside_unknown_ones() -> None:
    data = {**copy.deepcopy(BASE), "trainin": {}, "refinement": {"max_hole_slope_deg": 40, "stepps": []}}
    data["regions"] = [{**data["regions"][0], "roles": {"test": None}}]
    with pytest.raises(ConfigError) as caught:
        parse_config(data, FILE)
    for fault in (
        "'trainin'",
        "'refinement.stepps'",
        "has no dem",
        "no region has the role train",
        "4 faults",
    ):
        assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\na: b: c", "not valid YAML at line 2;"),
        ("name: São Paulo", "not valid YAML; "),
        ("- 1", "holds no configuration"),
        ("", "holds no"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml")


def test_first_difference_names_the_key() -> None:
    old = yaml.safe_load(dump_config(parse_config(BASE, FILE)))
    new = copy.deepcopy(old)
    assert first_difference(old, new) is None
    new["models"][1]["width"] = 0.5
    assert first_difference(old, new) == "models[1].width was 1.0 and is now 0.5"
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == "b was None and is now 2"
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "a was [1] and is now [1, 2]"


def test_the_template_and_the_example_are_valid() -> None:
    root = Path(__file__).parents[2]
    template = parse_config(yaml.safe_load(commented()), FILE)
    defaults = parse_config({"name": template.name, "regions": BASE["regions"]}, FILE)
    for section in ("models", "bands", "patch", "split", "training", "prediction", "refinement", "outputs"):
        assert getattr(template, section) == getattr(defaults, section), section
    himalaya = load_config(root / "configs/himalaya.yaml")
    assert [set(region.roles) for region in himalaya.regions] == [
        {"train", "validate"}, {"train"}, {"train", "test"}, {"train", "test"}, {"test"}, {"test"},
    ]  # fmt: skip
    assert {region.bands for region in himalaya.regions} == {RECIPES["himalaya-18"]}


REGION = BASE["regions"][0]
HELD = {**REGION, "name": "held", "roles": ["validate"]}


@pytest.mark.parametrize(
    ("wrong", "words", "cured"),
    [
        ({"regions": []}, "list scenes there, each with name, scene, truth and roles", {}),
        ({"models": []}, "models is empty; leave it out", {}),
        (
            {"models": [], "distil": {"student": "glavitu"}},
            "distil has no teacher, for models is empty; name model folders or weights under",
            {"models": [], "distil": {"student": "glavitu", "teachers": "runs/a/glavitu/all"}},
        ),
        (
            {"models": ["m_landsnet"], "distil": {"student": "glavitu", "teachers": ["glavitu"]}},
            "distil.teachers names glavitu, which is not among the models; add it there",
            {"models": ["glavitu"], "distil": {"student": "glavitu", "teachers": ["glavitu"]}},
        ),
        (
            {"distil": {"student": "glavitu", "scenes": "a.tif"}, "split": {"method": "random"}},
            "distil.scenes have no truth, but the random split draws validation patches from all",
            {"distil": {"student": "glavitu", "scenes": "a.tif"}, "split": {"method": "regions"}},
        ),
        (
            {"distil": {"truth_weight": 0.5}},
            "distil has no student; name the network that learns, such as student: glavitu",
            {"distil": {"truth_weight": 0.5, "student": "glavitu"}},
        ),
        (
            {"distil": {"student": {"name": "glavitu", "loss": "dice"}}},
            "distil.student: loss is dice, but a student learns by cross_entropy",
            {"distil": {"student": {"name": "glavitu"}}},
        ),
        (
            {"regions": [{**REGION, "roles": "test"}]},
            "give at least one `roles: train`",
            {"regions": [{**REGION, "roles": "train"}]},
        ),
        (
            {"regions": [{key: value for key, value in REGION.items() if key != "roles"}]},
            "give the region `roles: train`",
            {"regions": [{**REGION, "roles": "train"}]},
        ),
        (
            {"bands": {"recipe": "sentinel2-18"}, "regions": [{**REGION, "nodata": 0}]},
            "leave `nodata` out here",
            {"bands": {"recipe": "sentinel2-18"}, "regions": [REGION]},
        ),
        (
            {"regions": [{**REGION, "layers": {"velocity": "v.tif"}}]},
            "has layers, which are for the bands of a recipe",
            {
                "bands": {"recipe": ["red", "velocity"]},
                "regions": [{**REGION, "layers": {"velocity": "v.tif"}}],
            },
        ),
        (
            {"refinement": {"max_hole_slope_deg": 30}},
            "has no dem; name its file",
            {"refinement": {"max_hole_slope_deg": 30}, "regions": [{**REGION, "dem": "dem.tif"}]},
        ),
        (
            {"split": {"method": "random"}, "regions": [{**REGION, "roles": "train"}, HELD]},
            "give it the role train or test",
            {
                "split": {"method": "random"},
                "regions": [{**REGION, "roles": "train"}, {**HELD, "roles": "test"}],
            },
        ),
        (
            {
                "split": {"method": "random"},
                "regions": [{**REGION, "roles": "train"}],
                "prediction": {"regions": "scored"},
            },
            "set it to all",
            {
                "split": {"method": "random"},
                "regions": [{**REGION, "roles": "train"}],
                "prediction": {"regions": "all"},
            },
        ),
    ],
)
def test_what_is_asked_for_is_enough(wrong: dict[str, Any], words: str, cured: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**BASE, **wrong}, FILE)
    assert words in str(caught.value)
    assert parse_config({**BASE, **cured}, FILE).name == "basin"
