import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from glacierseg.errors import RequestError, UnknownModelError
from glacierseg.models import MODELS, count_parameters, create_model, model_spec
from glacierseg.models.registry import ModelSpec
from glacierseg.training.losses import LOSSES


def cost(name: str, in_channels: int, side_px: int, **options: Any) -> tuple[float, float]:
    """Millions of parameters, and thousand million multiply-adds for one patch. Computes nothing."""
    with torch.device("meta"):
        network = create_model(name, in_channels, **options).eval()
        x = torch.empty(1, in_channels, side_px, side_px)
    with FlopCounterMode(display=False) as counter:
        network(x)
    return count_parameters(network) / 1e6, counter.get_total_flops() / 2e9


def test_unetplusplus_is_as_large_as_published() -> None:
    parameters_m, gmac = cost("unetplusplus", 18, 256)
    assert parameters_m == pytest.approx(36.2, abs=0.1)
    assert gmac == pytest.approx(119.6, abs=0.1)


@pytest.mark.parametrize(("level", "mmac_per_px"), [(1, 0.22), (2, 0.55), (3, 1.07), (4, 1.83)])
def test_pruning_saves_what_was_published(level: int, mmac_per_px: float) -> None:
    _, gmac = cost("unetplusplus", 18, 256, deep_supervision=True, prune_level=level)
    assert gmac * 1e3 / 256**2 == pytest.approx(mmac_per_px, abs=0.006)


def test_glavitu_global_is_as_large_as_published() -> None:
    parameters_m, _ = cost("glavitu_global", 8, 384, groups=((0, 1, 2, 3, 4, 5), (6, 7)))
    assert parameters_m == pytest.approx(10.0, abs=0.05)


def test_sizes_of_the_networks_of_our_own_specification() -> None:
    assert cost("glavitu", 18, 64) == pytest.approx((20.7, 6.57 / 2), abs=0.01)
    assert cost("m_landsnet", 18, 128) == pytest.approx((8.42, 7.81 / 2), abs=0.01)


def in_docs(first: str) -> list[list[str]]:
    """The table rows of docs/networks.md that begin with that cell, each as its other cells."""
    page = (Path(__file__).parents[2] / "docs/networks.md").read_text(encoding="utf-8")
    return [
        line.strip("| ").split(" | ")[1:] for line in page.splitlines() if line.startswith(f"| {first} |")
    ]


@pytest.mark.parametrize("spec", MODELS.values(), ids=list(MODELS))
def test_the_tables_of_the_networks_are_measured(spec: ModelSpec) -> None:
    side_px = spec.default_patch_px
    parameters_m, gmac = cost(spec.name, 18, side_px)
    measured = [round(parameters_m, 2), round(gmac, 2), round(gmac * 1e3 / side_px**2, 3)]
    rows = in_docs(f"`{spec.name}`")
    assert len(rows) == 2, f"docs/networks.md needs two rows of {spec.name}, the first with {measured}"
    costs, training = rows
    assert int(costs[1]) == side_px
    assert [float(cell) for cell in costs[2:]] == measured
    words = {"dice_focal": "Dice + focal", "cross_entropy": "cross-entropy", "focal": "focal"}
    assert training[0] == words[spec.loss]
    assert float(training[1]) == spec.learning_rate
    assert training[2] == f"{spec.batch_size} ({spec.batch_size_six_bands})"
    assert training[3] == ("any" if spec.clip_norm is None else f"{spec.clip_norm:g}")


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_the_table_of_the_pruned_levels_is_measured(level: int) -> None:
    _, gmac = cost("unetplusplus", 18, 256, deep_supervision=True, prune_level=level)
    network = create_model("unetplusplus", 18, deep_supervision=True, prune_level=level)
    network(torch.zeros(1, 18, 32, 32)).sum().backward()
    used = sum(p.numel() for p in network.parameters() if p.grad is not None)
    assert [float(cell) for cell in in_docs(f"L{level}")[0]] == [
        round(used / 1e6, 2), round(gmac, 2), round(gmac * 1e3 / 256**2, 3)
    ]  # fmt: skip


def test_parameters_are_counted() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5))
    assert count_parameters(module) == 3 * 5 + 5 + 5 + 5


@pytest.mark.parametrize("spec", MODELS.values(), ids=list(MODELS))
def test_each_entry_is_sound(spec: ModelSpec) -> None:
    assert spec is MODELS[spec.name]
    assert spec.loss in LOSSES
    assert spec.default_patch_px % 16 == 0
    bands = spec.original_top_bands
    studied = spec.name in {"glavitu", "m_landsnet", "unetplusplus"}
    assert len(set(bands)) == len(bands) == (6 if studied else 0)
    assert all(1 <= band <= 18 for band in bands)


def test_an_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'unetplusplus'"):
        create_model("unet++plus", 3)
    with pytest.raises(UnknownModelError, match="no network is called 'xyz'; there are glavitu, m_landsnet"):
        model_spec("xyz")


def test_an_unknown_option_suggests_the_closest() -> None:
    with pytest.raises(RequestError, match="did you mean 'deep_supervision'"):
        create_model("unetplusplus", 3, deep_supervison=True)
    with pytest.raises(RequestError, match="m_landsnet has no option 'groups'; it has no options"):
        create_model("m_landsnet", 3, groups=None)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        (
            "unetplusplus",
            {"deep_supervision": "perhaps"},
            "option deep_supervision of unetplusplus is 'perhaps': Input should be a valid boolean",
        ),
        ("glavitu_global", {"groups": [["red"]]}, "option groups of glavitu_global is "),
    ],
)
def test_an_option_of_another_type_is_refused(name: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RequestError, match=re.escape(complaint)):
        create_model(name, 3, **options)


def test_an_option_may_be_written_as_text() -> None:
    written: dict[str, Any] = {"deep_supervision": "true", "groups": [["0"], ["1", "2"]]}
    network = create_model("glavitu_global", 3, width=0.125, **written)
    expected = create_model("glavitu_global", 3, width=0.125, deep_supervision=True, groups=[[0], [1, 2]])
    assert str(network) == str(expected)
    assert str(network) != str(create_model("glavitu_global", 3, width=0.125, deep_supervision=False))


def test_names_are_known_without_torch() -> None:
    code = "import sys; from glacierseg.models import MODELS; print(*MODELS, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*MODELS, "False"]
