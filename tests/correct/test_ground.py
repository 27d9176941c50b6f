"""Places that train, places that judge, and the ground of an earlier training."""

from pathlib import Path

import numpy as np
import pytest

from glacierseg.correct.ground import checked_ground, old_ground, patches_of, place_parts
from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader
from glacierseg.data.regions import Region
from glacierseg.models.card import read_card
from glacierseg.predict.ensemble import load_ensemble
from glacierseg.raster.scene import open_scene
from tests.correct.kept import SIDE, checked_only, corners, correction, run_folder, scene_of, stripes
from tests.helpers import present, write_scene
from tests.weights.shelves import BANDS, model_folder, reflectances


def test_a_third_of_the_places_judges_and_every_time_the_same(tmp_path: Path) -> None:
    scene, places = scene_of(tmp_path), corners(12)
    ensemble = load_ensemble(model_folder(tmp_path / "base"))
    kept = [correction(tmp_path, scene, checked_only(stripes(80, 104), places))]
    regions, found = checked_ground(kept, ensemble, 1 / 3)
    assert sorted((place.row, place.column) for place in found) == sorted(places)
    assert sum(place.judges for place in found) == 4
    assert [place.judges for place in checked_ground(kept, ensemble, 1 / 3)[1]] == [p.judges for p in found]
    assert all(place.km2 == pytest.approx(SIDE**2 * 1e-4) for place in found)
    for place in found:
        assert (regions[0].roles[place.window] == (2 if place.judges else 1)).all()
    assert (regions[0].roles[regions[0].truth == 255] == 0).all()


def test_training_never_sees_a_pixel_that_judges(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    base = model_folder(tmp_path / "base")
    # Nearer to each other than a patch is wide.
    kept = [correction(tmp_path, scene, checked_only(stripes(80, 104), corners(12, gap_px=2)))]
    regions, places = checked_ground(kept, load_ensemble(base), 1 / 3)
    patches = patches_of([place for place in places if not place.judges], regions, 32)
    judged = np.zeros(scene.grid.shape, bool)
    for place in places:
        judged[place.window] |= place.judges
    # A value of its own tells where a pixel comes from.
    numbers = np.arange(judged.size, dtype=np.float32).reshape(1, *judged.shape)
    told = write_scene(tmp_path / "numbers.tif", numbers + 1, ["n"])
    region = Region("numbers", open_scene(told), regions[0].truth, regions[0].roles)
    scaling = read_card(base).model_copy(update={"band_mean": (0.0,), "band_std": (1.0,)}).scaling
    data = PatchDataset(PatchReader([region], 32), patches, "train", scaling, augmentation=Augmentation())
    seen = set[int]()
    for values, valid, target in (data[draw] for draw in range(3 * len(data))):
        seen |= set(values.numpy()[..., 0][valid.numpy()].astype(int).tolist())
        assert not (target.numpy()[~valid.numpy()] != 255).any()
    assert seen
    assert not seen & set((np.flatnonzero(judged) + 1).tolist())


def test_checked_ground_without_data_is_unknown(tmp_path: Path) -> None:
    values = reflectances(80, 104)
    values[0, 4:10, 4:20] = 0
    scene = open_scene(write_scene(tmp_path / "basin.tif", values, BANDS, nodata=0))
    kept = [correction(tmp_path, scene, checked_only(stripes(80, 104), corners(12)))]
    regions, places = checked_ground(kept, load_ensemble(model_folder(tmp_path / "base")), 1 / 3)
    assert (regions[0].truth[4:10, 4:20] == 255).all()
    assert sum(place.km2 for place in places) == pytest.approx((12 * SIDE**2 - 6 * SIDE) * 1e-4)


def test_a_place_smaller_than_a_patch_lies_in_its_middle(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    kept = [correction(tmp_path, scene, checked_only(stripes(80, 104), [(30, 40)]))]
    regions, places = checked_ground(kept, load_ensemble(model_folder(tmp_path / "base")), 1 / 3)
    (patch,) = patches_of(places, regions, 32)
    assert (patch.row, patch.column) == (30 - 8, 40 - 8)
    (part,) = place_parts(places, regions)
    assert part.scene.grid.shape == part.truth.shape == (SIDE + 48, SIDE + 48)
    assert (part.truth[24:40, 24:40] == stripes(80, 104)[30:46, 40:56]).all()
    assert (part.truth != 255).sum() == SIDE**2


def test_the_run_of_a_model_folder_is_found_and_stays_as_it_is(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    base = model_folder(run.model("m_landsnet", "all").path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    old = old_ground(base, None, read_card(base), tmp_path / "scratch")
    assert old is not None
    assert [region.name for region in old.regions] == ["valley", "next"]
    known = old.validation["valley"] != 255
    assert known[48:].all()
    assert not known[:48].any()
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert not (tmp_path / "scratch").exists()


def test_old_ground_is_none_or_that_of_a_configuration(tmp_path: Path) -> None:
    base = model_folder(tmp_path / "alone")
    assert old_ground(base, None, read_card(base), tmp_path / "scratch") is None
    run = run_folder(tmp_path / "run")
    config = tmp_path / "again.yaml"
    config.write_text(run.config.read_text())
    by_file = old_ground(base, config, read_card(base), tmp_path / "scratch")
    by_run = old_ground(base, run.path, read_card(base), tmp_path / "scratch")
    by_file, by_run = present(by_file), present(by_run)
    assert (by_file.regions[0].roles == by_run.regions[0].roles).all()
    assert (tmp_path / "scratch" / "regions").exists()
