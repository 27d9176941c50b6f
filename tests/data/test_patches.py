import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from glacierseg.choices import Cache, Role
from glacierseg.data.augment import Augmentation, Symmetry
from glacierseg.data.patches import (
    Patch,
    PatchDataset,
    PatchReader,
    PatchTensors,
    as_batch,
    covered_pixels,
    place_patches,
)
from glacierseg.data.regions import Region
from glacierseg.data.split import roles_by_part
from glacierseg.models.device import InputScaling
from glacierseg.models.scaling import Scaling
from glacierseg.raster.scene import open_scene
from glacierseg.settings import PartConfig as Part
from tests.helpers import blobs, write_scene

PLAIN = Scaling((0.0, 0.0), (1.0, 1.0))


@pytest.fixture
def region(tmp_path: Path) -> Region:
    """Band 1 counts pixels, band 2 is its own code of the role: 10 train, 20 validate, 30 test."""
    height, width = 70, 90
    scene_path = tmp_path / "scene.tif"
    parts: dict[Role, Part] = {
        "train": Part(x=(0.5, 1.0)),
        "validate": Part(x=(0.3, 0.5)),
        "test": Part(x=(0.0, 0.3)),
    }
    from tests.helpers import utm_grid

    roles = roles_by_part(utm_grid(height, width), parts)
    values = np.stack([np.arange(height * width).reshape(height, width) + 1, roles * 10]).astype(np.int32)
    write_scene(scene_path, values)
    return Region("r", open_scene(scene_path), blobs(height, width), roles)


CACHES = ["none", "memory", "disk"]


def image_of(item: PatchTensors) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network and the loss get of one patch."""
    values, valid, target = item
    return InputScaling(PLAIN)(values[None], valid[None])[0], target


@pytest.mark.parametrize("cache", CACHES)
def test_training_patches_never_show_a_pixel_of_another_role(
    region: Region, cache: Cache, tmp_path: Path
) -> None:
    patches = place_patches([region], "train", 32, overlap=0.5)
    reader = PatchReader([region], 32, cache, tmp_path)
    dataset = PatchDataset(reader, patches, "train", PLAIN, augmentation=Augmentation(), seed=3)
    for draw in range(4 * len(dataset)):
        image, target = image_of(dataset[draw])
        assert set(image[1].unique().tolist()) <= {0.0, 10.0}
        assert (target[image[1] == 0] == 255).all()
        assert (target != 255).any()


def test_validation_counts_every_pixel_of_its_role_once(region: Region) -> None:
    patches = place_patches([region], "validate", 32, overlap=0.0)
    dataset = PatchDataset(PatchReader([region], 32), patches, "validate", PLAIN)
    seen = np.concatenate([image[0][target != 255].numpy() for image, target in map(image_of, dataset)])
    wanted = np.flatnonzero(region.roles.ravel() == 2) + 1
    assert sorted(seen.astype(int)) == wanted.tolist()
    glacier = sum(int((target == 1).sum()) for _, _, target in dataset)
    assert glacier == int((region.truth[region.roles == 2] == 1).sum())


def test_a_scene_smaller_than_a_patch_gives_one_padded_patch(region: Region) -> None:
    everything = replace(region, roles=np.ones_like(region.roles))
    patches = place_patches([everything], "train", 128, overlap=0.5)
    assert patches == (Patch(0, 0, 0),)
    image, target = image_of(PatchDataset(PatchReader([everything], 128), patches, "train", PLAIN)[0])
    assert image.shape == (2, 128, 128)
    assert (target[70:] == 255).all()
    assert (target[:, 90:] == 255).all()
    assert (target[:70, :90].numpy() == region.truth).all()


def test_a_draw_is_repeatable_and_turns_differ(region: Region) -> None:
    patches = place_patches([region], "train", 16, overlap=0.5)
    dataset = PatchDataset(
        PatchReader([region], 16), patches, "train", PLAIN, augmentation=Augmentation(), seed=1
    )
    count = len(dataset)
    assert torch.equal(dataset[5][0], dataset[5][0])
    turns = [dataset[5 + count * turn][0] for turn in range(6)]
    assert any(not torch.equal(turns[0], other) for other in turns[1:])


def test_zoomed_patches_never_show_a_pixel_of_another_role(region: Region) -> None:
    patches = place_patches([region], "train", 32, overlap=0.5)
    augmentation = Augmentation(zoom=0.5)
    dataset = PatchDataset(
        PatchReader([region], 32), patches, "train", PLAIN, augmentation=augmentation, seed=3
    )
    for draw in range(4 * len(dataset)):
        image, target = image_of(dataset[draw])
        code = image[1]
        assert ((code == 0) | ((code - 10).abs() < 1e-4)).all()
        assert (target[code == 0] == 255).all()
        assert (target != 255).any()


def test_zoomed_images_and_labels_show_the_same_ground(region: Region) -> None:
    # Truth stands in a band, too, so a half of it in a pixel is where its label turns.
    values = np.stack([region.truth * 100 + 1, np.indices(region.truth.shape)[1] + 1]).astype(np.int32)
    path = region.scene.paths[0].with_name("told.tif")
    everything = Region("r", open_scene(write_scene(path, values)), region.truth, np.ones_like(region.roles))
    reader = PatchReader([everything], 16)
    dataset = PatchDataset(
        reader, [Patch(0, 24, 40)], "train", PLAIN, augmentation=Augmentation(symmetries=False, zoom=0.5)
    )
    widths = []
    for draw in range(40):
        image, target = image_of(dataset[draw])
        assert (((image[0] - 1) / 100 >= 0.4999) == (target == 1)).all()
        assert abs(float(image[1].mean()) - (40 + 8 + 0.5)) <= 0.5  # about the same centre
        widths.append(float(image[1, 0, -1] - image[1, 0, 0]) + 1)
    assert min(widths) < 13
    assert max(widths) > 20


def test_zoomed_aspect_goes_the_short_way_round(region: Region) -> None:
    """Between slopes of 350 and 10 degrees lie slopes to the north, and none to the south."""
    columns = np.indices(region.truth.shape)[1]
    aspect = np.where(columns % 2, 350, 10)
    path = write_scene(
        region.scene.paths[0].with_name("north.tif"),
        np.stack([columns + 1, aspect]).astype(np.float32),
        ["red", "aspect"],
    )
    whole = Region("r", open_scene(path), region.truth, np.ones_like(region.roles))
    changes = Augmentation(symmetries=False, zoom=0.5)
    dataset = PatchDataset(PatchReader([whole], 16), [Patch(0, 24, 40)], "train", PLAIN, augmentation=changes)
    off = []
    for draw in range(20):
        values = dataset[draw][0].numpy()
        assert values.shape == (16, 16, 2)
        assert ((values[..., 1] >= 349.9) | (values[..., 1] <= 10.1)).all()
        off += [np.abs((values[..., 1] + 180) % 360 - 180).min()]
    assert min(off) < 5, "or nothing was interpolated"


def test_without_zoom_pixels_stay_as_they_are_and_chance_is_spent_on_shift_and_turn_alone(
    region: Region,
) -> None:
    everything = replace(region, roles=np.ones_like(region.roles))
    patch = Patch(0, 24, 40)
    dataset = PatchDataset(
        PatchReader([everything], 16), [patch], "train", PLAIN, augmentation=Augmentation(), seed=1
    )
    with everything.scene.open() as reader:
        whole, _ = reader.read(0, 0, *everything.scene.grid.shape)
    for draw in range(20):
        rng = np.random.default_rng((1, draw))
        row, column = 24 + rng.integers(-4, 5), 40 + rng.integers(-4, 5)
        expected = Symmetry.draw(rng).apply(whole[:, row : row + 16, column : column + 16])
        values = dataset[draw][0]
        assert values.dtype == torch.int32
        np.testing.assert_array_equal(values.numpy().transpose(2, 0, 1), expected)


@pytest.mark.parametrize("start", [(24, 40), (0, 0), (54, 74), (-3, 1), (66, 40), (24, 86)])
@pytest.mark.parametrize("shifts", [True, False])
def test_zoomed_draws_look_no_further_than_they_say(
    region: Region, start: tuple[int, int], shifts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = PatchReader([region], 16)
    augmentation = Augmentation(symmetries=shifts, zoom=0.5)
    dataset = PatchDataset(reader, [Patch(0, *start)], "train", PLAIN, augmentation=augmentation)
    read, seen = reader.read, []

    def noted(
        patch: Patch, side_px: int | None = None, *, soft: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.uint8]]:
        seen.append((patch.row, patch.column, side_px or 16))
        return read(patch, side_px, soft=soft)

    monkeypatch.setattr(reader, "read", noted)
    for draw in range(300):
        dataset[draw]
    lows = [[own[axis] - start[axis] for own in seen] for axis in (0, 1)]
    highs = [[own[axis] + own[2] - start[axis] - 16 for own in seen] for axis in (0, 1)]
    assert min(map(min, lows)) >= -dataset.reach_px
    assert max(map(max, highs)) <= dataset.reach_px
    for axis, length in ((0, 70), (1, 90)):
        assert min(own[axis] for own in seen) >= min(start[axis], 0)
        assert max(own[axis] + own[2] for own in seen) <= max(length, start[axis] + 16)
    if start == (24, 40) and shifts:
        assert min(map(min, lows)) == -dataset.reach_px
        assert max(map(max, highs)) == dataset.reach_px
    if start == (0, 0):
        assert max(map(max, highs)) == dataset.reach_px


def test_a_scene_that_a_zoomed_patch_is_wider_than_stays_in_view_at_any_place(region: Region) -> None:
    everything = replace(region, roles=np.ones_like(region.roles))
    reader = PatchReader([everything], 68)
    dataset = PatchDataset(reader, [Patch(0, 0, 0)], "train", PLAIN, augmentation=Augmentation(zoom=0.5))
    tops = set()
    for draw in range(60):
        rng = np.random.default_rng(draw)
        shown = dataset._shifted(Patch(0, 0, 0), 100, rng)
        assert -30 <= shown.row <= 0
        assert -10 <= shown.column <= 0
        tops.add(shown.row)
    assert min(tops) < -25
    assert max(tops) > -5


@pytest.mark.parametrize("patch", [Patch(0, 24, 40), Patch(0, 0, 82), Patch(0, -3, 1)])
def test_draws_look_as_far_beyond_their_patch_as_they_say(region: Region, patch: Patch) -> None:
    everything = replace(region, roles=np.ones_like(region.roles))
    reader = PatchReader([everything], 8, "memory")
    shifted = PatchDataset(reader, [patch], "train", PLAIN, augmentation=Augmentation())
    steady = PatchDataset(reader, [patch], "train", PLAIN)
    for dataset, draws in ((shifted, 200), (steady, 1)):
        seen = np.zeros(region.truth.size + 1, bool)
        for draw in range(draws):
            seen[image_of(dataset[draw])[0][0].int().numpy()] = True
        reached = covered_pixels(everything, 0, [patch], 8, margin_px=dataset.reach_px)
        np.testing.assert_array_equal(seen[1:].reshape(region.truth.shape), reached)


def test_image_and_target_turn_together(region: Region) -> None:
    everything = replace(region, roles=np.ones_like(region.roles))
    patches = place_patches([everything], "train", 16, overlap=0.5)
    dataset = PatchDataset(
        PatchReader([everything], 16), patches, "train", PLAIN, augmentation=Augmentation(), seed=1
    )
    for draw in range(40):
        image, target = image_of(dataset[draw])
        at = image[0].numpy().astype(int) - 1
        assert (region.truth.ravel()[at] == target.numpy()).all()


def test_soft_labels_take_the_place_of_the_truth_and_stay_when_values_change(region: Region) -> None:
    number = np.arange(region.truth.size).reshape(region.truth.shape)
    soft = (number % 256).astype(np.uint8)
    taught = replace(region, soft=soft)
    patches = place_patches([taught], "train", 16, overlap=0.5)
    reader = PatchReader([taught], 16)
    plain, changed = (
        PatchDataset(reader, patches, "train", PLAIN, augmentation=own, seed=1, soft=True)
        for own in (Augmentation(), Augmentation(brightness=0.3, noise=0.2))
    )
    for draw in range(20):
        image, target = image_of(plain[draw])
        at, inside = image[0].numpy().astype(int) - 1, image[1].numpy() == 10
        np.testing.assert_array_equal(target.numpy(), np.where(inside, soft.ravel()[at], 255))
        other, same = image_of(changed[draw])
        assert not torch.equal(image, other)
        assert torch.equal(target, same)
    checked = PatchDataset(reader, patches, "train", PLAIN)
    assert set(checked[0][2].unique().tolist()) <= {0, 1, 255}


@pytest.mark.parametrize("cache", CACHES)
def test_reader_opens_its_own_files_in_another_process(region: Region, cache: Cache, tmp_path: Path) -> None:
    reader = PatchReader([region], 16, cache, tmp_path)
    expected = reader.read(Patch(0, 4, 7))
    copied = pickle.loads(pickle.dumps(reader))
    for one, other in zip(expected, copied.read(Patch(0, 4, 7)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_eight_symmetries_are_eight() -> None:
    square = np.arange(9).reshape(3, 3)
    seen = {Symmetry(flip, turns).apply(square).tobytes() for flip in (False, True) for turns in range(4)}
    assert len(seen) == 8


@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.parametrize("cache", CACHES)
def test_worker_processes_give_the_patches_of_one_process(
    region: Region, way: str, cache: Cache, tmp_path: Path
) -> None:
    patches = place_patches([region], "train", 32, overlap=0.5)
    reader = PatchReader([region], 32, cache, tmp_path)
    dataset = PatchDataset(reader, patches, "train", PLAIN, augmentation=Augmentation(noise=0.1), seed=3)
    alone = [values for values, _, _ in DataLoader(dataset, 2, collate_fn=as_batch)]
    # What is spawned has to import torch first.
    workers = 1 if way == "spawn" else 2
    loader = DataLoader(dataset, 2, collate_fn=as_batch, num_workers=workers, multiprocessing_context=way)
    shared = [values for values, _, _ in loader]
    assert len(alone) == len(shared) > 1
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))


def test_values_changed_at_random_keep_their_units(region: Region) -> None:
    """Noise of a tenth of a spread, in the scene's units, and nothing where the role has no pixels."""
    patches = place_patches([region], "train", 32, overlap=0.5)
    scaling = Scaling((3000.0, 10.0), (50.0, 1.0))
    plain, noisy = (
        PatchDataset(PatchReader([region], 32), patches, "train", scaling, augmentation=augmentation, seed=3)
        for augmentation in (Augmentation(), Augmentation(noise=0.1))
    )
    values, valid, target = plain[2]
    changed, still_valid, same = noisy[2]
    assert torch.equal(valid, still_valid)
    assert torch.equal(target, same)
    spread = (changed - values)[valid].std(0)
    assert spread.tolist() == pytest.approx([5.0, 0.1], rel=0.1)
