import pytest
import torch

from glacierseg.training.precision import has_native_bf16


@pytest.mark.parametrize("processor", [True, False])
@pytest.mark.parametrize("library", [True, False])
def test_bf16_needs_a_processor_that_has_it_and_a_onednn_that_uses_it(
    monkeypatch: pytest.MonkeyPatch, processor: bool, library: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": processor}, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: library, raising=False)
    assert has_native_bf16() == (processor and library)
