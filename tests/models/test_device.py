import numpy as np
import pytest
import torch

from glacierseg.models.device import InputScaling, has_native_bf16
from glacierseg.models.scaling import Scaling


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_batch_is_scaled_bit_for_bit_as_its_patches_are(dtype: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (3, 8, 8, 5)).astype(dtype)
    valid = rng.random((3, 8, 8)) > 0.3
    scaling = Scaling(tuple(rng.normal(100, 30, 5)), tuple(rng.uniform(0.1, 90, 5)))
    image = InputScaling(scaling)(torch.from_numpy(values), torch.from_numpy(valid))
    expected = [scaling.apply(v.transpose(2, 0, 1), ok) for v, ok in zip(values, valid, strict=True)]
    np.testing.assert_array_equal(image.numpy(), np.stack(expected))
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_one_scaling_takes_windows_of_any_width_and_changes_of_its_type() -> None:
    scaling = Scaling((3.0, 5.0), (2.0, 4.0))
    scale = InputScaling(scaling)
    for dtype, side in [(torch.float32, 4), (torch.float32, 7), (torch.float64, 7), (torch.float32, 7)]:
        values = torch.arange(side * side * 2, dtype=torch.float32).reshape(1, side, side, 2)
        image = scale.to(dtype)(values, torch.ones(1, side, side, dtype=torch.bool))
        assert image.dtype == dtype
        expected = (values - torch.tensor([3.0, 5.0])) / torch.tensor([2.0, 4.0])
        assert torch.equal(image.permute(0, 2, 3, 1), expected.to(dtype))


def test_either_layout_holds_the_same() -> None:
    values, valid = torch.rand(2, 4, 6, 3), torch.ones(2, 4, 6, dtype=torch.bool)
    scale = InputScaling(Scaling((3.0,) * 3, (2.0,) * 3))
    usual = scale(values, valid)
    scale.layout = torch.contiguous_format
    other = scale(values, valid)
    assert torch.equal(usual, other)
    assert other.is_contiguous()
    assert not usual.is_contiguous()


def test_input_is_not_written_to() -> None:
    values = torch.ones(1, 2, 2, 3)
    InputScaling(Scaling((1.0,) * 3, (2.0,) * 3))(values, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert (values == 1).all()


def test_undo_gives_back_the_values() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(500, 80, (2, 9, 9)).astype(np.float32)
    scaling = Scaling((480.0, 510.0), (70.0, 0.5))
    restored = scaling.undo(scaling.apply(values, np.ones((9, 9), bool)))
    np.testing.assert_allclose(restored, values, rtol=1e-6)


@pytest.mark.parametrize("processor", [True, False])
@pytest.mark.parametrize("library", [True, False])
def test_bf16_needs_a_processor_that_has_it_and_a_onednn_that_uses_it(
    monkeypatch: pytest.MonkeyPatch, processor: bool, library: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": processor}, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: library, raising=False)
    assert has_native_bf16() == (processor and library)
