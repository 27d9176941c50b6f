import json
from pathlib import Path

import pytest
import torch
from torch import nn

from glacierseg.cli.info import machine_facts
from glacierseg.models import layout
from glacierseg.models.layout import chosen, machine_key, read_layouts, training_layout
from glacierseg.models.registry import create_model

FAST = [(1.2, 1.0)] * 5
"""Turns in which the contiguous layout wins clearly."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path))
    return tmp_path / "layouts.json"


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gives made-up seconds in place of a measurement, and has an entry for each that was asked for."""
    asked: list[int] = []

    def made_up(network: nn.Module, bands: int) -> list[tuple[float, float]]:
        del network
        asked.append(bands)
        return FAST

    monkeypatch.setattr(layout, "_turns", made_up)
    return asked


def network() -> nn.Module:
    return create_model("m_landsnet", 2, 2, 0.125)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (FAST, "contiguous"),
        ([(1.0, 1.2)] * 5, "channels_last"),
        ([(1.02, 1.0)] * 5, "channels_last"),  # too little to tell
        ([*FAST, (1.0, 1.01)], "channels_last"),  # it lost a turn, so the others may be noise
        (FAST[:2], "channels_last"),
        ([], "channels_last"),
    ],
)
def test_the_other_layout_must_win_clearly(seconds: list[tuple[float, float]], wanted: str) -> None:
    assert chosen(seconds) == wanted


def test_a_layout_is_measured_once_for_each_kind_of_network(cache: Path, turns: list[int]) -> None:
    assert [training_layout(network(), 2) for _ in range(3)] == ["contiguous"] * 3
    assert turns == [2]
    training_layout(create_model("m_landsnet", 3, 2, 0.125), 3)
    assert turns == [2, 3]
    assert list(json.loads(cache.read_text())) == [machine_key()]
    assert len(read_layouts()[machine_key()]) == 2


def test_what_another_machine_measured_does_not_count(
    cache: Path, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    training_layout(network(), 2)
    monkeypatch.setattr(layout, "processor_name", lambda: "another one")
    training_layout(network(), 2)
    assert turns == [2, 2]
    assert len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 3}', "\xff", '{"a": {"b": "sideways"}}'])
def test_a_damaged_cache_is_measured_anew(cache: Path, turns: list[int], content: str) -> None:
    cache.write_bytes(content.encode("latin-1"))
    assert training_layout(network(), 2) == "contiguous"
    assert turns == [2]
    assert training_layout(network(), 2) == "contiguous"
    assert turns == [2]


def test_what_cannot_be_kept_is_not_measured(
    tmp_path: Path, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "file"))
    assert training_layout(network(), 2) == "channels_last"
    assert turns == []


def test_what_another_process_kept_first_counts(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(own: nn.Module, bands: int) -> list[tuple[float, float]]:
        parameters = sum(weights.numel() for weights in own.parameters())
        key = f"{type(own).__name__}, {parameters} parameters, {bands} bands"
        cache.write_text(json.dumps({machine_key(): {key: "channels_last"}}))
        return FAST

    monkeypatch.setattr(layout, "_turns", late)
    assert training_layout(network(), 2) == "channels_last"


@pytest.mark.usefixtures("cache")
def test_measuring_changes_neither_the_network_nor_what_is_drawn_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "_SECONDS", 0.05)
    own = network()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert training_layout(own, 2) in layout.FORMATS
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[key]) for key, value in own.state_dict().items())
    assert all(weights.grad is None for weights in own.parameters())


@pytest.mark.usefixtures("turns")
def test_info_says_what_was_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacierseg.models.device.has_native_bf16", lambda: False)
    del cache
    assert "none measured" in machine_facts()["training layout"]
    training_layout(network(), 2)
    assert "contiguous for MLandsNet" in machine_facts()["training layout"]
