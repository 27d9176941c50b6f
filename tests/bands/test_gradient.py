from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from torch import nn

from glacierseg.bands import (
    PatchSample,
    band_importance,
    gradient_importance,
    measure_patches,
    read_measures,
    top_bands,
    unmeasured_message,
    write_importance,
)
from glacierseg.bands.importance import mix, use_of_bands
from glacierseg.choices import MEASURES
from glacierseg.errors import DataError, RequestError, TruthError
from glacierseg.models import create_model
from glacierseg.models.card import ModelCard
from glacierseg.raster.scene import open_scene
from glacierseg.settings.bands import ImportanceSettings
from tests.bands.networks import Linear
from tests.helpers import blobs, present, utm_grid, write_mask, write_scene

BANDS = ["useful", "less", "heard", "deaf"]


def test_a_linear_network_gives_back_its_weights_as_shares() -> None:
    target = torch.zeros(3, 8, 8, dtype=torch.long)
    target[:2, 2:5] = 1
    torch.manual_seed(0)  # two patches that agree by chance would look measurable
    found = gradient_importance(
        Linear([1.0, -6.0, 3.0]), [(torch.randn(3, 3, 8, 8), target)], ["a", "b", "c"]
    )
    assert [(e.rank, e.band) for e in found] == [(1, "b"), (2, "c"), (3, "a")]
    assert [e.importance for e in found] == pytest.approx([0.6, 0.3, 0.1])
    assert [e.spread for e in found] == pytest.approx([0, 0, 0], abs=1e-9)


def test_only_glacier_pixels_count() -> None:
    class Split(nn.Module):
        """Looks at band a on the left half and at band b on the right half."""

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            glacier = torch.cat([x[:, 0, :, :4], x[:, 1, :, 4:]], -1) * self.one
            return torch.stack([torch.zeros_like(glacier), glacier], 1)

    target = torch.full((1, 8, 8), 255)
    target[:, :, :4] = 1
    target[:, :, 4:6] = 0
    found = gradient_importance(Split(), [(torch.randn(1, 2, 8, 8), target)], ["a", "b"])
    assert {e.band: e.importance for e in found} == pytest.approx({"a": 1.0, "b": 0.0})


def test_no_glacier_is_one_line() -> None:
    with pytest.raises(RequestError, match="needs glacier pixels"):
        gradient_importance(Linear([1.0]), [(torch.randn(1, 1, 4, 4), torch.zeros(1, 4, 4))], ["a"])


def test_table_survives_the_file_and_gives_top_bands_in_scene_order(tmp_path: Path) -> None:
    target = torch.ones(1, 4, 4, dtype=torch.long)
    found = gradient_importance(Linear([2.0, 1.0, 4.0]), [(torch.randn(1, 3, 4, 4), target)], ["a", "b", "c"])
    write_importance(tmp_path / "t.csv", {"gradient": found})
    again = read_measures(tmp_path / "t.csv")["gradient"]
    assert [(e.rank, e.band) for e in again] == [(e.rank, e.band) for e in found]
    assert top_bands(again, 2, ["a", "b", "c"]) == ("a", "c")


def test_on_a_scene_spread_is_taken_from_the_card(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 50, 70)).astype(np.uint8)
    scene = write_scene(tmp_path / "s.tif", values, ["b", "spare", "a"])
    mask = write_mask(tmp_path / "m.tif", blobs(50, 70))
    card = ModelCard(
        architecture="m_landsnet", bands=("a", "b"), band_mean=(0.0, 0.0), band_std=(10.0, 20.0), patch_px=32
    )
    found = band_importance(Linear([1.0, 3.0]), scene, mask, card=card)
    assert {e.band: e.importance for e in found} == pytest.approx({"a": 0.25, "b": 0.75})


def test_the_layer_of_the_truth_can_be_named(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", np.ones((1, 40, 40), np.uint8), ["a"])
    left, _, _, top = open_scene(scene).grid.bounds
    ice, other = shapely.box(left, top - 100, left + 100, top), shapely.box(left, top, left + 100, top + 100)
    for name, shape in (("ice", ice), ("elsewhere", other)):
        gpd.GeoDataFrame(geometry=[shape], crs=utm_grid(1, 1).crs.to_wkt()).to_file(
            tmp_path / "truth.gpkg", layer=name
        )
    card = ModelCard(architecture="m_landsnet", bands=("a",), band_mean=(0.0,), band_std=(1.0,), patch_px=16)
    settings = ImportanceSettings(truth_layers=("ice",))
    (found,) = band_importance(Linear([1.0]), scene, tmp_path / "truth.gpkg", settings, card=card)
    assert found.band == "a"
    with pytest.raises(TruthError, match="--truth-layer"):
        band_importance(Linear([1.0]), scene, tmp_path / "truth.gpkg", card=card)


def test_names_with_commas_and_a_damaged_table(tmp_path: Path) -> None:
    target = torch.ones(1, 4, 4, dtype=torch.long)
    found = gradient_importance(
        Linear([2.0, 1.0]), [(torch.randn(1, 2, 4, 4), target)], ["B2, blue", 'say "x"']
    )
    write_importance(tmp_path / "t.csv", {"gradient": found})
    assert [e.band for e in read_measures(tmp_path / "t.csv")["gradient"]] == ["B2, blue", 'say "x"']
    (tmp_path / "t.csv").write_text("rank,band\n1,x\n")
    with pytest.raises(DataError, match=r"t\.csv: is damaged"):
        read_measures(tmp_path / "t.csv")


def test_spread_over_patches_and_regions_and_the_standard_error() -> None:
    class First(Linear):
        """Looks at band a alone where band a is positive, else at band b alone."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.where(x[:, :1] > 0, x * self.one, x * (1 - self.one)))

        one = torch.tensor([1.0, 0.0])[:, None, None]

    image = torch.ones(4, 2, 4, 4)
    image[3] = -1
    target = torch.ones(4, 4, 4, dtype=torch.long)
    batches = [(image, target)]
    (a, b) = gradient_importance(First([1.0, 1.0]), batches, ["a", "b"], [0, 0, 1, 1])
    assert (a.band, a.importance, b.importance) == ("a", 0.75, 0.25)
    assert a.spread == pytest.approx(np.std([1, 1, 1, 0]))
    assert a.standard_error == pytest.approx(np.std([1, 1, 1, 0], ddof=1) / 2)
    assert a.region_spread == pytest.approx(np.std([1, 0.5]))
    assert gradient_importance(First([1.0, 1.0]), batches, ["a", "b"])[0].region_spread is None


def noisy_sample(patches: int = 24, seed: int = 0) -> PatchSample:
    """Truth follows the first two bands; the others are noise."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(patches, 4, 8, 8, generator=draw)
    noise = torch.randn(patches, 8, 8, generator=draw)
    targets = (2 * images[:, 0] + images[:, 1] + 0.5 * noise > 0).long()
    return PatchSample(images, targets, batch_size=7)


def test_a_linear_network_uses_its_weights_times_what_glacier_has_more_of() -> None:
    draw = torch.Generator().manual_seed(1)
    image, donor = torch.randn(2, 2, 3, 5, 6, generator=draw)
    donor[0, :, 0] = 0  # no data
    target = torch.randint(0, 2, (2, 5, 6), generator=draw)
    target[1, 2] = 255
    weights = [2.0, -1.0, 0.0]
    found = use_of_bands(Linear(weights), image, donor, target).numpy()
    for patch in range(2):
        gap = (image - donor)[patch].numpy().astype(float)
        if patch == 0:
            gap[:, 0] = 0
        truth = target[patch].numpy()
        use = np.array(weights) * (gap[:, truth == 1].mean(1) - gap[:, truth == 0].mean(1))
        np.testing.assert_allclose(found[patch], use / np.abs(use).sum(), rtol=1e-5, atol=1e-9)


def test_a_band_exchanged_with_the_other_patch_changes_its_sign_and_nothing_else() -> None:
    torch.manual_seed(0)
    network = create_model("m_landsnet", 3, 2, 0.125).eval()
    image, donor = torch.randn(2, 1, 3, 16, 16)
    target = (image[:, 0] > 0).long()
    before = use_of_bands(network, image, donor, target)
    swapped = [image.clone(), donor.clone()]
    swapped[0][:, 1], swapped[1][:, 1] = donor[:, 1], image[:, 1]
    after = use_of_bands(network, swapped[0], swapped[1], target)
    torch.testing.assert_close(after, before * torch.tensor([1.0, -1.0, 1.0]), rtol=1e-3, atol=1e-5)
    assert before.abs().sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_noise_ranks_last_and_shares_its_rank_under_both_measures(seed: int) -> None:
    # The network listens to `heard` more than to `less`, and learns nothing from it.
    found = measure_patches(Linear([2.0, 1.0, 1.5, 0.0]), noisy_sample(seed=seed), BANDS)
    assert tuple(found) == MEASURES
    for measure, result in found.items():
        assert [e.band for e in result[:2]] == ["useful", "less"], measure
        assert [e.measurable for e in result] == [True, True, False, False], measure
        assert [(e.rank_low, e.rank_high) for e in result] == [(1, 1), (2, 2), (3, 4), (3, 4)], measure
    share = {e.band: e.importance for e in found["gradient"]}
    assert share["heard"] > share["less"]  # by size alone it would rank second
    message = unmeasured_message(found["gradient"], 3)
    assert message is not None
    assert "no measurable importance: heard" in message
    assert "2 of the 4 bands can be told from noise; choose 2" in message


def test_a_network_that_ignores_bands_by_construction() -> None:
    torch.manual_seed(0)
    network = create_model("m_landsnet", 4, 2, 0.125).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4 and weight.shape[1] == 4:  # what looks at the bands themselves
                weight[:, 2:] = 0
    images = torch.randn(16, 4, 16, 16)
    with torch.no_grad():
        logits = network(images)
    targets = (logits[:, 1] - logits[:, 0] > (logits[:, 1] - logits[:, 0]).median()).long()
    found = measure_patches(network, PatchSample(images, targets), BANDS, repeats=1)
    for measure, result in found.items():
        assert {e.band for e in result[2:]} == {"heard", "deaf"}, measure
        last = [e for e in result if e.band in {"heard", "deaf"}]
        assert all((e.importance, e.measurable, e.rank_high) == (0, False, 4) for e in last), measure
        assert last[0].rank_low == last[1].rank_low, measure


def test_noise_that_bends_the_score_is_still_not_used() -> None:
    class Bent(Linear):
        """The noisier, the surer: a gradient at the image itself would find that useful."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (1 + x[:, 2:3] ** 2)

    calls = 0
    for seed in range(20):
        sample = noisy_sample(20, seed)
        result = gradient_importance(Bent([2.0, 1.0, 0.0, 0.0]), sample, BANDS)
        calls += present(next(e for e in result if e.band == "heard").p_value) < 0.05
    assert calls <= 4  # 1 is expected; 5 or more has a chance of 0.3 %


def test_one_patch_measures_without_a_test() -> None:
    sample = noisy_sample(1)
    result = gradient_importance(Linear([2.0, 1.0, 1.5, 0.0]), sample, BANDS)
    assert [e.band for e in result] == ["useful", "heard", "less", "deaf"]
    assert all(e.measurable is None and e.rank_low is None for e in result)


def test_a_batch_mixes_ground_and_keeps_every_patch() -> None:
    assert mix(range(10), 4) == [0, 3, 6, 9, 1, 4, 7, 2, 5, 8]
    assert mix(range(3), 8) == [0, 1, 2]
    sample = PatchSample(torch.arange(10.0).reshape(10, 1, 1, 1), torch.zeros(10, 1, 1), list(range(10)), 4)
    mixed = sample.mixed()
    assert mixed.images.flatten().tolist() == mixed.regions == mix(range(10), 4)
