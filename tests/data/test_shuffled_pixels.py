from pathlib import Path

import numpy as np
import pytest
import torch

from glacierseg.data import shuffled_pixels
from glacierseg.data.patches import Patch, Region, place_patches
from glacierseg.data.scaling import Scaling
from glacierseg.data.shuffled_pixels import ShuffledPixels, describe_pixels
from glacierseg.data.split import ELSEWHERE, NO_ROLE, ROLE_CODES
from glacierseg.models.texture_mlp import TextureMLP
from glacierseg.raster.scene import open_scene
from tests.helpers import blobs, write_scene

PLAIN = Scaling((0.0, 0.0), (1.0, 1.0))
EVERYTHING = 10**9
REACH_PX = 4


def region(
    folder: Path, name: str, height: int, width: int, *, first: int = 1, shared: bool = False
) -> Region:
    """Band 1 numbers the pixels, band 2 is noise; some pixels have no data.

    A shared one has all roles side by side, pixels of none, and some that another region has the right to.
    """
    rng = np.random.default_rng(height)
    numbers = np.arange(height * width).reshape(height, width) + first
    values = np.stack([numbers, rng.integers(1, 99, (height, width))])
    values[:, rng.random((height, width)) < 0.1] = 0
    path = write_scene(folder / f"{name}.tif", values.astype(np.float32), nodata=0)
    roles = np.full((height, width), ROLE_CODES["train"], np.uint8)
    if shared:
        for code, start in enumerate((NO_ROLE, ROLE_CODES["validate"], ROLE_CODES["test"], ELSEWHERE)):
            roles[:, width // 2 + 3 * code : width // 2 + 3 * code + 3] = start
    truth = np.where(values[0] == 0, np.uint8(255), blobs(height, width))
    return Region(name, open_scene(path), truth, roles)


@pytest.fixture
def regions(tmp_path: Path) -> list[Region]:
    return [region(tmp_path, "a", 40, 70, shared=True), region(tmp_path, "b", 23, 31, first=10_000)]


def described(
    regions: list[Region], *, most: int = EVERYTHING, seed: int = 0, patches: tuple[Patch, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    network = TextureMLP(2, windows_px=(3, 2 * REACH_PX + 1))
    patches = place_patches(regions, "train", 8, overlap=0.5) if patches is None else patches
    return describe_pixels(
        regions, patches, 8, PLAIN, network.describe, network.reach_px, most=most, seed=seed
    )


def expected(one: Region) -> dict[int, tuple[np.ndarray, bool]]:
    """By the number in band 1: what a network that sees the whole region at once says, and the truth."""
    with one.scene.open() as reader:
        values, valid = reader.read(0, 0, *one.truth.shape)
    train = one.roles == ROLE_CODES["train"]
    shown = torch.from_numpy(np.where(valid & (train | (one.roles == NO_ROLE)), values, 0))[None]
    found = TextureMLP(2, windows_px=(3, 2 * REACH_PX + 1)).describe(shown)[0].numpy()
    rows, columns = np.nonzero(train & (one.truth != 255))
    return {
        int(values[0, r, c]): (found[:, r, c], one.truth[r, c] == 1)
        for r, c in zip(rows, columns, strict=True)
    }


@pytest.mark.parametrize("block_px", [16, 512])
def test_every_training_pixel_is_described_as_in_the_whole_scene(
    regions: list[Region], block_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffled_pixels, "_BLOCK_PX", block_px)
    for one in regions:
        wanted = expected(one)
        # Patches that cover everything, those without much training ground too.
        patches = tuple(Patch(0, r, c) for r in range(0, 40, 8) for c in range(0, 70, 8))
        found, glacier = described([one], patches=patches)
        numbers = found[:, 0].astype(int)
        assert sorted(numbers) == sorted(wanted)
        np.testing.assert_allclose(found, np.array([wanted[n][0] for n in numbers]), rtol=1e-4, atol=1e-3)
        assert glacier.tolist() == [wanted[n][1] for n in numbers]


def test_some_are_drawn_from_all_regions_evenly_and_each_once(regions: list[Region]) -> None:
    everything, _ = described(regions)
    found, glacier = described(regions, most=600)
    assert len(found) == len(glacier) == 600
    assert len(np.unique(found, axis=0)) == 600
    assert {tuple(row) for row in found.tolist()} <= {tuple(row) for row in everything.tolist()}
    own = [len(described([region])[0]) for region in regions]
    second = (found[:, 0] >= 10_000).sum()
    # The chance of each region, give or take five standard deviations.
    assert abs(second - 600 * own[1] / sum(own)) < 5 * np.sqrt(600 * own[0] * own[1]) / sum(own)
    again, _ = described(regions, most=600)
    other, _ = described(regions, most=600, seed=1)
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(found, other)


def test_pixels_outside_of_the_patches_are_not_drawn(regions: list[Region]) -> None:
    found, _ = described(regions, patches=(Patch(1, 16, -3),))
    with regions[1].scene.open() as reader:
        values, valid = reader.read(16, 0, 7, 5)
    assert sorted(found[:, 0].tolist()) == sorted(values[0][valid].tolist())


def test_without_training_ground_there_are_no_pixels(tmp_path: Path) -> None:
    one = region(tmp_path, "a", 20, 20)
    one.roles[:] = ROLE_CODES["test"]
    found, glacier = described([one])
    assert (len(found), len(glacier)) == (0, 0)
    assert len(ShuffledPixels(found, glacier, 8, PLAIN)) == 0


def pixels(count: int, *, seed: int = 0, patch_px: int = 8) -> ShuffledPixels:
    numbers = np.arange(count, dtype=np.float32)
    descriptions = np.stack([numbers, numbers * 2], axis=1)
    return ShuffledPixels(descriptions, numbers % 4 == 0, patch_px, PLAIN, seed=seed)


def test_a_patch_holds_pixels_with_their_own_truth() -> None:
    values, valid, target = pixels(1000).__getitems__([3, 4])
    assert values.shape == (2, 8, 8, 2)
    assert valid.all()
    torch.testing.assert_close(values[..., 1], values[..., 0] * 2)
    assert torch.equal(target == 1, values[..., 0] % 4 == 0)
    assert set(target.unique().tolist()) == {0, 1}


def test_a_draw_is_repeatable_and_draws_differ() -> None:
    one, other = pixels(10_000), pixels(10_000)
    assert all(torch.equal(a, b) for a, b in zip(one[5], other[5], strict=True))
    assert torch.equal(one.__getitems__([7, 5])[0][1], one[5][0])
    assert not torch.equal(one[5][0], one[6][0])
    assert not torch.equal(one[5][0], pixels(10_000, seed=1)[5][0])


def test_an_epoch_is_as_many_patches_as_there_are_pixels_for_and_no_handful() -> None:
    assert [len(pixels(count)) for count in (1, 6400, 6401)] == [100, 100, 101]
    seen = np.concatenate([values[..., 0].ravel() for values, _, _ in pixels(6400)])
    # With replacement about 63 % of them come in a round.
    assert 0.58 < len(np.unique(seen)) / 6400 < 0.68
