from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from glacierseg.bands import (
    band_importance,
    gradient_importance,
    integrated_gradients,
    integrated_importance,
    read_importance,
    top_bands,
    write_importance,
)
from glacierseg.bands.sample import glacier_margin
from glacierseg.errors import DataError, RequestError
from glacierseg.models import MODELS, create_model
from glacierseg.training.checkpoint import ModelCard
from tests.bands.networks import Linear, Square
from tests.helpers import blobs, write_mask, write_scene


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
    write_importance(tmp_path / "t.csv", found)
    again = read_importance(tmp_path / "t.csv")
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


def test_names_with_commas_and_a_damaged_table(tmp_path: Path) -> None:
    target = torch.ones(1, 4, 4, dtype=torch.long)
    found = gradient_importance(
        Linear([2.0, 1.0]), [(torch.randn(1, 2, 4, 4), target)], ["B2, blue", 'say "x"']
    )
    write_importance(tmp_path / "t.csv", found)
    assert [e.band for e in read_importance(tmp_path / "t.csv")] == ["B2, blue", 'say "x"']
    (tmp_path / "t.csv").write_text("rank,band\n1,x\n")
    with pytest.raises(DataError, match=r"t\.csv: is damaged"):
        read_importance(tmp_path / "t.csv")


def test_integrated_gradients_of_a_linear_network_are_weight_times_value() -> None:
    image, glacier = torch.randn(2, 3, 5, 6), torch.rand(2, 5, 6) > 0.4
    found = integrated_gradients(Linear([1.0, -6.0, 3.0], bias=2.0), image, glacier, steps=1)
    expected = image * torch.tensor([1.0, -6.0, 3.0])[:, None, None] * glacier[:, None]
    torch.testing.assert_close(found, expected)


def test_midpoints_integrate_a_square_exactly() -> None:
    image, glacier = torch.randn(1, 2, 4, 4), torch.ones(1, 4, 4)
    found = integrated_gradients(Square([0.5, -2.0]), image, glacier, steps=3)
    torch.testing.assert_close(found, image**2 * torch.tensor([0.5, -2.0])[:, None, None])


def test_integrated_shares_weigh_values_and_not_only_slopes() -> None:
    image = torch.ones(1, 2, 4, 4)
    image[:, 1] = -3
    target = torch.ones(1, 4, 4, dtype=torch.long)
    found = integrated_importance(Linear([1.0, 1.0]), [(image, target)], ["a", "b"])
    assert {e.band: e.importance for e in found} == pytest.approx({"a": 0.25, "b": 0.75})
    found = gradient_importance(Linear([1.0, 1.0]), [(image, target)], ["a", "b"])
    assert {e.band: e.importance for e in found} == pytest.approx({"a": 0.5, "b": 0.5})


@pytest.mark.parametrize("name", MODELS)
def test_attributions_sum_to_what_the_image_adds_to_the_baseline(name: str) -> None:
    torch.manual_seed(3)
    network = create_model(name, 3, 2, 0.125).eval()
    image, glacier = torch.randn(1, 3, 16, 16), torch.zeros(1, 16, 16)
    glacier[:, 4:12, 4:12] = 1
    with torch.no_grad():
        image_score, baseline = (
            (glacier_margin(network, x) * glacier).sum() for x in (image, torch.zeros_like(image))
        )
    found = integrated_gradients(network, image, glacier, steps=128)
    # Layer norm makes transformers bend sharply near the baseline; convolutions are exact to 1e-5.
    assert abs(float(found.sum() - (image_score - baseline))) < 0.03 * float(found.abs().sum())


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
