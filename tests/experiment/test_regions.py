import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import distance_transform_cdt
from shapely.geometry import box

from glacierseg.data.patches import Patch, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.errors import ConfigError, DataError, TruthError
from glacierseg.experiment.regions import (
    SplitPatches,
    check_inputs,
    choose_bands,
    leak_share,
    load_regions,
    open_sources,
    split_patches,
    tuning_truths,
)
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RunConfig, SplitConfig, parse_config
from tests.helpers import blobs, easy_scene, write_mask, write_scene

MODELS = [{"name": "m_landsnet", "patch_px": 16}]
SMALL = [{"name": "m_landsnet", "patch_px": 8}]
BANDS = ["blue", "green", "red", "nir"]


def write_region(folder: Path, name: str = "r", seed: int = 4, **changes: Any) -> dict[str, Any]:
    mask = blobs(96, 128, seed)
    write_scene(folder / f"{name}.tif", easy_scene(mask), BANDS)
    write_mask(folder / f"{name}_mask.tif", mask)
    return {"name": name, "scene": f"{name}.tif", "truth": f"{name}_mask.tif", "roles": "train", **changes}


def load(config: RunConfig, run: RunFolder) -> tuple[Region, ...]:
    scenes = choose_bands(config.regions, config.bands, open_sources(config.regions), run)
    return load_regions(config.regions, config.split, config.largest_patch_px, scenes, run)


def prepare(
    folder: Path, *regions: dict[str, Any], **changes: Any
) -> tuple[RunConfig, RunFolder, tuple[Region, ...]]:
    settings = {
        "name": "t",
        "regions": list(regions),
        "models": MODELS,
        **changes,
    }
    config = parse_config(settings, folder / "c.yaml")
    run = RunFolder(folder / "out")
    return config, run, load(config, run)


@pytest.mark.parametrize(
    "roles",
    [
        {"train": {"x": [0.5, 1]}, "validate": {"x": [0.3, 0.5]}},
        ["train", "validate", "test"],
        "train",
    ],
    ids=str,
)
def test_training_sees_no_validation_pixel_under_any_spatial_split(tmp_path: Path, roles: object) -> None:
    config, _, regions = prepare(tmp_path, write_region(tmp_path, roles=roles))
    patches = split_patches(regions, 16, config.patch, config.split)
    assert patches.train
    assert patches.validate
    assert leak_share(patches, regions, 16, reach_px=0) == 0


@pytest.mark.parametrize("method", ["spatial", "blocks"])
def test_more_ground_validates_when_asked_for(tmp_path: Path, method: str) -> None:
    shares = []
    for share in (0.2, 0.5):
        split = {"method": method, "holdout_share": share, "block_px": 24}
        (tmp_path / str(share)).mkdir()
        given = write_region(tmp_path / str(share))
        _, _, (region,) = prepare(tmp_path / str(share), given, models=SMALL, split=split)
        shares.append(float((region.roles == ROLE_CODES["validate"]).mean()))
    assert shares == pytest.approx([0.2, 0.5], abs=0.05)


def test_random_patches_validate_by_share_and_seed(tmp_path: Path) -> None:
    config, _, regions = prepare(tmp_path, write_region(tmp_path), models=SMALL, split={"method": "random"})
    held = [
        split_patches(regions, 8, config.patch, SplitConfig(method="random", holdout_share=share, seed=seed))
        for share, seed in ((0.4, 1), (0.4, 1), (0.4, 2))
    ]
    number = len(held[0].train) + len(held[0].validate)
    assert len(held[0].validate) == round(0.4 * number)
    assert held[0].validate == held[1].validate != held[2].validate


@pytest.mark.parametrize(
    "split", [{"method": "regions"}, {"method": "kfold", "fold_over": "regions", "folds": 3}]
)
def test_regions_that_lie_apart_leak_nothing(tmp_path: Path, split: dict[str, Any]) -> None:
    given = []
    for number, role in enumerate(("train", "validate", "test")):
        given.append(
            write_region(tmp_path, "abc"[number], number, roles=role if len(split) == 1 else "train")
        )
        for name in ("{}.tif", "{}_mask.tif"):
            with rasterio.open(tmp_path / name.format("abc"[number]), "r+") as file:
                file.transform = file.transform @ Affine.translation(500 * number, 0)
    config, _, regions = prepare(tmp_path, *given, split=split)
    patches = split_patches(regions, 16, config.patch, config.split)
    assert patches.train
    assert patches.validate
    assert leak_share(patches, regions, 16, reach_px=0) == 0


def test_ground_that_regions_share_leaks(tmp_path: Path) -> None:
    mask = blobs(96, 128, 4)
    write_scene(tmp_path / "east.tif", easy_scene(mask)[:, :, 64:], BANDS)
    write_mask(tmp_path / "east_mask.tif", mask[:, 64:])
    for name in ("east.tif", "east_mask.tif"):
        with rasterio.open(tmp_path / name, "r+") as file:
            file.transform = file.transform @ Affine.translation(64, 0)
    east = {"name": "east", "scene": "east.tif", "truth": "east_mask.tif", "roles": "train"}
    whole = write_region(tmp_path, roles="validate")
    config, _, regions = prepare(tmp_path, whole, east)
    patches = split_patches(regions, 16, config.patch, config.split)
    assert leak_share(patches, regions, 16, reach_px=0) == pytest.approx(0.5)


def test_what_training_sees_beside_its_patches_leaks_too(tmp_path: Path) -> None:
    given = [write_region(tmp_path, "a"), write_region(tmp_path, "b", roles="validate")]
    _, _, regions = prepare(tmp_path, *given)
    validate = place_patches(regions, "validate", 16, overlap=0)
    patches = SplitPatches((Patch(0, 32, 32),), validate)
    labelled = regions[1].truth != 255
    for reach_px in (0, 4):
        seen = np.zeros(labelled.shape, bool)
        seen[32 - reach_px : 48 + reach_px, 32 - reach_px : 48 + reach_px] = True
        share = (seen & labelled).sum() / labelled.sum()
        assert leak_share(patches, regions, 16, reach_px=reach_px) == pytest.approx(share)


def distance_between(one: np.ndarray, other: np.ndarray) -> float:
    """Smallest chessboard distance between two areas."""
    return float(distance_transform_cdt(~other, metric="chessboard")[one].min())


@pytest.mark.parametrize("split", [{"method": "blocks", "block_px": 40}, {"method": "kfold", "block_px": 32}])
@pytest.mark.parametrize("roles", ["train", ["train", "validate", "test"]], ids=str)
def test_blocks_and_folds_leave_a_gap_of_one_patch(
    tmp_path: Path, split: dict[str, Any], roles: str | list[str]
) -> None:
    region = write_region(tmp_path, roles=roles)
    models = [{"name": "m_landsnet", "patch_px": 8}]
    config, _, regions = prepare(tmp_path, region, split=split, models=models)
    areas = regions[0].areas
    assert "validate" in areas
    assert ("test" in areas) == (split["method"] == "kfold" or "test" in roles)
    for held in set(areas) - {"train"}:
        assert distance_between(areas["train"], areas[held]) > 8
        assert areas[held].any()
    if "test" in areas:
        assert distance_between(areas["validate"], areas["test"]) > 8
    patches = split_patches(regions, 8, config.patch, config.split)
    assert patches.train
    assert leak_share(patches, regions, 8, reach_px=0) == 0


def test_folds_test_every_pixel_once(tmp_path: Path) -> None:
    region = write_region(tmp_path)
    models = [{"name": "m_landsnet", "patch_px": 8}]
    tested, validated = np.zeros((96, 128), int), np.zeros((96, 128), int)
    for fold in range(1, 5):
        split = {"method": "kfold", "block_px": 32, "folds": 4, "fold": fold}
        folder = tmp_path / str(fold)
        folder.mkdir()
        config = parse_config(
            {"name": "t", "regions": [region], "models": models, "split": split}, tmp_path / "c.yaml"
        )
        run = RunFolder(folder / "out")
        regions = load(config, run)
        tested += regions[0].areas["test"]
        validated += regions[0].areas["validate"]
    assert (tested == 1).all()
    assert (validated <= 1).all()


def test_folds_over_regions(tmp_path: Path) -> None:
    regions = [write_region(tmp_path, name, seed) for seed, name in enumerate("abc")]
    regions.append(write_region(tmp_path, "d", 7, roles="test"))
    split = {"method": "kfold", "folds": 3, "fold_over": "regions", "fold": 2}
    _, _, prepared = prepare(tmp_path, *regions, split=split)
    roles = {one.name: set(one.areas) for one in prepared}
    assert roles["d"] == {"test"}
    assert sorted(map(sorted, (roles[name] for name in "abc"))) == [["test"], ["train"], ["validate"]]


def write_chip(folder: Path, name: str, column_px: int) -> dict[str, Any]:
    region = write_region(folder, name, seed=ord(name))
    for file_name in (region["scene"], region["truth"]):
        with rasterio.open(folder / file_name, "r+") as file:
            file.transform = file.transform @ Affine.translation(column_px, 0)
    return region


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_folds_over_places_leak_nothing_where_folds_over_regions_warn(tmp_path: Path, fold: int) -> None:
    # Each chip shares 48 of its 128 columns with the next one.
    chips = [write_chip(tmp_path, name, 80 * number) for number, name in enumerate("abcdefgh")]
    found = {}
    for fold_over in ("regions", "places"):
        split = {"method": "kfold", "folds": 3, "fold_over": fold_over, "fold": fold}
        folder = tmp_path / fold_over
        folder.mkdir()
        config = parse_config(
            {"name": "t", "regions": chips, "models": MODELS, "split": split}, tmp_path / "c.yaml"
        )
        run = RunFolder(folder)
        regions = load(config, run)
        check_inputs(config.regions, config.largest_patch_px, regions, run)
        overlap = json.loads((folder / "checks.json").read_text())["all regions"][0]["status"]
        patches = split_patches(regions, 16, config.patch, config.split)
        assert patches.train
        assert patches.validate
        found[fold_over] = overlap, leak_share(patches, regions, 16, reach_px=0) > 0
        again = load(config, run)
        assert [set(one.areas) for one in again] == [set(one.areas) for one in regions]
    assert found == {"regions": ("warning", True), "places": ("passed", False)}
    tests = [one for one in regions if "test" in one.areas]
    assert tests
    assert all(one.areas["test"].all() for one in tests)


@pytest.mark.parametrize(
    ("changes", "split", "message"),
    [
        ({"roles": ["train", "test"]}, {"method": "regions"}, "region r has the roles train, test, but"),
        ({}, {"method": "regions"}, "no region has the role validate"),
        ({"roles": {"train": {}, "test": {"x": [0, 0.5]}}}, {"method": "kfold"}, "region r gives parts"),
        ({}, {"method": "kfold", "fold_over": "regions"}, "only 1 regions can be dealt out"),
        ({}, {"method": "kfold", "fold_over": "places"}, "only 1 regions can be dealt out"),
        ({}, {"method": "kfold", "block_px": 96}, "too small for 5 folds with blocks of 96 px"),
        ({}, {"method": "blocks", "block_px": 128}, "too small for a checkerboard with blocks of 128 px"),
        ({}, {"method": "blocks", "block_px": 8}, "leaves no ground to train on"),
        (
            {"roles": {"train": {"x": [0.5, 1]}, "validate": {"x": [0.45, 0.5]}, "test": {"x": [0, 0.45]}}},
            {"method": "blocks"},
            "leaves no ground to validate on",
        ),
    ],
    ids=str,
)
def test_a_split_that_cannot_be_is_one_line(
    tmp_path: Path, changes: dict[str, Any], split: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare(tmp_path, write_region(tmp_path, **changes), split=split)


def test_the_random_split_leaks_and_tunes_on_its_held_out_patches_only(tmp_path: Path) -> None:
    config, _, regions = prepare(tmp_path, write_region(tmp_path), split={"method": "random"})
    patches = split_patches(regions, 16, config.patch, config.split)
    assert leak_share(patches, regions, 16, reach_px=0) > 0.9
    truth = tuning_truths(regions, 16, config.patch, config.split)["r"]
    held = np.zeros(truth.shape, bool)
    for patch in patches.validate:
        held[patch.row : patch.row + 16, patch.column : patch.column + 16] = True
    np.testing.assert_array_equal(truth != 255, held)


def test_a_polygon_in_another_crs_bounds_a_part(tmp_path: Path) -> None:
    polygon = gpd.GeoDataFrame(geometry=[box(700_000, 3_599_500, 700_400, 3_600_000)], crs="EPSG:32643")
    polygon.to_crs(4326).to_file(tmp_path / "part.geojson")
    roles = {"test": {"polygon": "part.geojson"}, "train": {}}
    _, _, regions = prepare(tmp_path, write_region(tmp_path, roles=roles))
    np.testing.assert_array_equal(regions[0].areas["test"][:49, :39], True)
    assert not regions[0].areas["test"][52:].any()
    assert not (regions[0].areas["test"] & regions[0].areas["train"]).any()


def test_a_train_part_without_glacier_is_refused(tmp_path: Path) -> None:
    region = write_region(tmp_path)
    mask = np.zeros((96, 128), np.uint8)
    mask[:, 100:] = 1
    write_mask(tmp_path / "r_mask.tif", mask)
    region["roles"] = {"train": {"x": [0, 0.5]}, "test": {"x": [0.5, 1]}}
    with pytest.raises(ConfigError, match="the train parts hold no glacier"):
        prepare(tmp_path, region)


def test_a_recipe_makes_bands_and_terrain_for_every_region(tmp_path: Path) -> None:
    write_scene(
        tmp_path / "dem.tif", np.fromfunction(lambda _, r, c: 3000 + 3 * r + 4 * c, (1, 96, 128)), ["z"]
    )
    recipe = ["red", "nir", "ndwi", "slope"]
    config, run, regions = prepare(
        tmp_path,
        write_region(tmp_path, dem="dem.tif"),
        bands={"recipe": recipe, "use": ["slope", "red", "ndwi"]},
    )
    assert regions[0].scene.band_names == ("slope", "red", "ndwi")
    with rasterio.open(run.scene("r")) as made, rasterio.open(tmp_path / "r.tif") as given:
        assert made.descriptions == tuple(recipe)
        green, nir = given.read(2).astype(float), given.read(4).astype(float)
        np.testing.assert_allclose(made.read(3), (green - nir) / (green + nir), rtol=1e-5, atol=1e-6)
        # 3 m down and 4 m across on 10 m pixels: half a metre per metre.
        assert made.read(4)[50, 60] == pytest.approx(np.degrees(np.arctan(0.5)), rel=1e-5)
    # The rim has no slope, so it has no label.
    assert (regions[0].truth[0] == 255).all()
    assert config.bands.recipe == tuple(recipe)


def test_a_recipe_takes_the_layers_of_its_region(tmp_path: Path) -> None:
    """Layers are files beside the configuration, and count among the files of the region."""
    layer = np.random.default_rng(0).uniform(0, 90, (96, 128)).astype(np.float32)
    write_scene(tmp_path / "v.tif", layer[None], ["b1"])
    region = write_region(tmp_path, layers={"velocity": "v.tif"})
    config, run, _ = prepare(tmp_path, region, bands={"recipe": ["red", "velocity"]})
    assert tmp_path / "v.tif" in config.regions[0].files
    with rasterio.open(run.scene("r")) as made:
        assert made.descriptions == ("red", "velocity")
        np.testing.assert_array_equal(made.read(2), layer)


def test_numbers_choose_bands_too(tmp_path: Path) -> None:
    _, _, regions = prepare(tmp_path, write_region(tmp_path), bands={"use": [4, "green"]})
    assert regions[0].scene.band_names == ("nir", "green")


def test_checks_are_stored_and_name_regions_that_share_ground(tmp_path: Path) -> None:
    regions = [write_region(tmp_path, "a"), write_region(tmp_path, "b", roles="test")]
    config, run, prepared = prepare(tmp_path, *regions)
    check_inputs(config.regions, config.largest_patch_px, prepared, run)
    stored = json.loads((run.path / "checks.json").read_text())
    assert set(stored) == {"a", "b", "all regions"}
    overlap = stored["all regions"][0]
    assert overlap["status"] == "warning"
    assert "a (train) and b (test) share 100 %" in overlap["message"]


def test_a_failed_check_stops_the_run_in_one_line(tmp_path: Path) -> None:
    config, run, regions = prepare(tmp_path, write_region(tmp_path))
    write_scene(tmp_path / "r.tif", np.ones((4, 96, 128), np.int64), BANDS)
    with pytest.raises(DataError, match="region r: data type") as caught:
        check_inputs(config.regions, config.largest_patch_px, regions, run)
    assert "\n" not in str(caught.value)


def test_a_part_without_a_labelled_pixel_is_refused_by_name(tmp_path: Path) -> None:
    region = write_region(tmp_path, roles={"train": {"x": [0, 0.6]}, "validate": {"x": [0.6, 1]}})
    mask = blobs(96, 128, 4)
    mask[:, 70:] = 255
    write_mask(tmp_path / "r_mask.tif", mask)
    with pytest.raises(ConfigError, match="region r: its validate part holds no pixel"):
        prepare(tmp_path, region)


def test_a_mask_of_0_and_255_gets_the_right_advice(tmp_path: Path) -> None:
    region = write_region(tmp_path)
    write_mask(tmp_path / "r_mask.tif", blobs(96, 128, 4) * 255)
    with pytest.raises(TruthError, match="if 255 is the glacier, bring it to 1 with"):
        prepare(tmp_path, region)
