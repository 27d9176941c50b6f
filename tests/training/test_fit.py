import csv
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.sampler import EpochSampler, SharedBatches
from glacierseg.data.split import roles_by_part
from glacierseg.errors import CheckpointError, RequestError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.models.device import InputScaling
from glacierseg.models.registry import create_model
from glacierseg.models.scaling import Scaling
from glacierseg.raster.scene import open_scene
from glacierseg.settings import PartConfig as Part
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.fit import Inherited, fit, start_from
from glacierseg.training.processes import Processes
from glacierseg.training.states import EpochRecord
from glacierseg.training.task import SegmentationTask
from tests.helpers import blobs, easy_scene, forks, utm_grid, write_scene


def datasets(folder: Path) -> tuple[PatchDataset, PatchDataset]:
    mask = blobs(64, 96, 4)
    path = write_scene(folder / "scene.tif", easy_scene(mask, 2))
    roles = roles_by_part(utm_grid(64, 96), {"train": Part(x=(0, 0.66)), "validate": Part(x=(0.66, 1))})
    region = Region("r", open_scene(path), mask, roles)
    reader = PatchReader([region], 32)
    scaling = Scaling((100.0, 100.0), (30.0, 30.0))
    train = PatchDataset(
        reader,
        place_patches([region], "train", 32, overlap=0.5),
        "train",
        scaling,
        augmentation=Augmentation(),
        seed=5,
    )
    return train, PatchDataset(
        reader, place_patches([region], "validate", 32, overlap=0.0), "validate", scaling
    )


def network(name: str = "m_landsnet") -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, 2, 2, 0.125)


def plan(**changes: Any) -> TrainingPlan:
    settings: dict[str, Any] = {
        "loss": "dice_focal", "learning_rate": 1e-3, "batch_size": 4, "epochs": 4, "patience": 10,
    }  # fmt: skip
    return TrainingPlan(**{**settings, **changes})


def judge(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Lets the validation of each epoch find these IoUs, the last one again and again.

    What training reaches, and in which epoch, rounding decides, so another processor decides it otherwise.
    """

    class Judged(SegmentationTask):
        def validation_step(self, *_: object) -> None:
            score = scores[min(self.current_epoch, len(scores) - 1)]
            ice = round(100 * score)
            self.counts = torch.tensor([ice, 0, 100 - ice, 0])
            self._val_sum = torch.tensor([1 - score, 1.0], dtype=torch.float64)

    monkeypatch.setattr("glacierseg.training.fit.SegmentationTask", Judged)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "epochs.csv").open() as file:
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)]


def test_training_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    train, validate = datasets(tmp_path)
    net = network()
    result = fit(
        net,
        train,
        validate,
        plan(epochs=5, schedule="cosine", patches_per_epoch=64, learning_rate=5e-3, precision="float32"),
        tmp_path / "run",
    )
    table = rows(tmp_path / "run")
    ious = [float(row["val_iou"]) for row in table]
    assert [int(row["epoch"]) for row in table] == list(range(1, 6))
    assert result.best_iou == pytest.approx(max(ious), abs=1e-5)
    # Much more than by calling all glacier, and much less than what it reaches: no rounding decides that.
    truth = torch.cat([target.flatten() for _, _, target in validate])
    assert result.best_iou > 1.5 * float((truth == 1).sum() / (truth != 255).sum())
    # The weights left in the network are those of the best epoch, not of the last.
    task = SegmentationTask(net.eval(), train.scaling, plan(), 1, Processes())
    with torch.no_grad():
        for values, valid, target in validate:
            predicted = net(task.scale(values[None], valid[None])).argmax(1)[0][target != 255]
            truth = target[target != 255]
            task.counts += torch.tensor(
                [int(((predicted == p) & (truth == t)).sum()) for p, t in ((1, 1), (1, 0), (0, 1), (0, 0))]
            )
    tp, fp, fn, _ = task.counts.tolist()
    assert tp / (tp + fp + fn) == pytest.approx(result.best_iou, abs=0.01)


class TwoHeads(nn.Module):
    """Calls bright pixels glacier; a second head, which does not predict, calls everything glacier."""

    head_weights = (0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward_heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ice = self.slope * x[:, :1]
        return torch.cat([-(ice**2) - 1, ice**2 + 1], 1), torch.cat([-ice, ice], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_heads(x)[-1]


def test_the_training_iou_counts_what_the_predicting_head_said(tmp_path: Path) -> None:
    shifted, validate = datasets(tmp_path)
    shifted.reader.regions[0].truth[20:30, 8:40] = 255
    train = PatchDataset(shifted.reader, shifted.patches, "train", shifted.scaling)
    # Every patch is seen once, in batches of five and of four, and nothing is learned; the second epoch says
    # the contrary of the first.
    settings = plan(epochs=2, learning_rate=1e-12, batch_size=5, precision="float32", monitor="last")
    net = TwoHeads()

    def turn_round(_: EpochRecord) -> None:
        net.slope.data.neg_()

    result = fit(net, train, validate, settings, tmp_path / "run", on_epoch=turn_round)
    assert len(train) == 9
    scale = InputScaling(train.scaling)
    expected = []
    for sign in (1, -1):
        ice, either = 0, 0
        for values, valid, target in (train[index] for index in range(len(train))):
            found = (sign * scale(values[None], valid[None])[0, 0] > 0) & (target != 255)
            ice += int((found & (target == 1)).sum())
            either += int((found | (target == 1)).sum())
        expected.append(ice / either)
    assert 0.1 < expected[0] < 0.99
    ious = [float(row["train_iou"]) for row in rows(tmp_path / "run")]
    assert ious == pytest.approx(expected, abs=1e-5)
    assert result.train_iou == pytest.approx(expected[1], abs=1e-9)


def test_the_last_epoch_is_kept_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validate = datasets(tmp_path)
    judge(monkeypatch, 0.5, 0.4)  # no epoch is better than the first one, and patience would be lost
    settings = plan(monitor="last", epochs=4, patience=1, patches_per_epoch=16, schedule="plateau")
    result = fit(network(), train, validate, settings, tmp_path / "run")
    assert (result.epochs, result.best_epoch, result.stopped_early) == (4, 4, False)
    assert result.best_iou == 0.4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_are_clipped_in_every_precision(tmp_path: Path, precision: str) -> None:
    train, validate = datasets(tmp_path)
    moved = []
    for norm in (1e-12, None):
        net = network()
        before = torch.cat([p.detach().flatten().clone() for p in net.parameters()])
        settings = plan(epochs=1, clip_norm=norm, precision=precision, patches_per_epoch=8)
        fit(net, train, validate, settings, tmp_path / f"run{norm}")
        moved.append(
            float((torch.cat([p.detach().flatten() for p in net.parameters()]) - before).abs().max())
        )
    # Adam divides by the gradient's size plus 1e-8, so only a gradient far below that moves less.
    assert moved[0] < 0.01 * moved[1]


@pytest.mark.parametrize(("precision", "layout"), [("float32", torch.contiguous_format), ("bfloat16", None)])
def test_float32_alone_trains_in_the_layout_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, layout: torch.memory_format | None
) -> None:
    monkeypatch.setattr("glacierseg.training.fit.training_layout", lambda *_: "contiguous")
    seen = []
    net = network()
    net.register_forward_pre_hook(
        lambda own, given: seen.append(
            [tensor.is_contiguous() for tensor in (*given, next(own.parameters()))]
        )
    )
    fit(net, *datasets(tmp_path), plan(epochs=1, precision=precision), tmp_path / "run")
    assert seen
    assert all(all(found) == (layout is not None) for found in seen)


def test_same_seed_same_epochs(tmp_path: Path) -> None:
    train, validate = datasets(tmp_path)
    for name in ("one", "two"):
        fit(network(), train, validate, plan(epochs=2), tmp_path / name)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_patience_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validate = datasets(tmp_path)
    judge(monkeypatch, 0.3, 0.5, 0.4)
    result = fit(network(), train, validate, plan(epochs=30, patience=2), tmp_path / "r")
    assert (result.epochs, result.best_epoch, result.stopped_early) == (4, 2, True)


def test_no_patches_is_one_line(tmp_path: Path) -> None:
    train, _ = datasets(tmp_path)
    empty = PatchDataset(train.reader, (), "validate", train.scaling)
    with pytest.raises(RequestError, match="no patch to validate on"):
        fit(network(), train, empty, plan(), tmp_path / "r")


def test_sampler_draws_every_patch_and_never_the_same_turn_twice() -> None:
    sampler = EpochSampler(5, 12, seed=1)
    seen = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        draws = list(sampler)
        assert len(draws) == 12
        assert set(np.array(draws) % 5) == set(range(5))
        seen += draws
    assert len(set(seen)) == len(seen)


IMPORTS = """
from pathlib import Path
from tests.training.test_fit import datasets, network, plan
from glacierseg.training.fit import fit
"""
TRAIN = """
folder = Path(words[0])
train, validate = datasets(folder)
def tell(record):
    print("epoch", record.epoch, flush=True)
fit(network(), train, validate, plan(epochs=6), folder / "run", on_epoch=tell)
"""


def test_killed_training_goes_on_and_ends_with_the_same_epochs(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    with forks(IMPORTS, TRAIN) as start:
        process = start(killed)
        for line in process.lines():
            if line.startswith("epoch 3"):
                time.sleep(0.05)
                process.kill()
        assert process.wait() == -signal.SIGKILL
        assert 2 <= len(rows(killed / "run")) < 6
        assert start(killed).wait() == 0
        assert start(whole).wait() == 0
    assert rows(killed / "run") == rows(whole / "run")


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    ("schedule", "patience", "epochs"), [("constant", 20, 9), ("cosine", 20, 9), ("plateau", 3, 8)]
)
def test_a_stopped_training_repeats_no_whole_epoch_and_ends_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, patience: int, epochs: int
) -> None:
    train, validate = datasets(tmp_path)
    # The best epoch is never the last before a stop: resuming from the best one would repeat epochs. Twice
    # two epochs in a row are no better, which lowers the rate of a plateau; three in a row end it.
    judge(monkeypatch, 0.3, 0.5, 0.4, 0.45, 0.6, 0.5, 0.55, 0.58, 0.59)
    settings = plan(epochs=9, patience=patience, schedule=schedule, learning_rate=0.05)
    result = fit(network(), train, validate, settings, tmp_path / "whole")
    assert (result.epochs, result.best_epoch) == (epochs, 5)
    told: list[int] = []

    def stop(record: EpochRecord) -> None:
        told.append(record.epoch)
        if told in ([1, 2, 3], [1, 2, 3, 3, 4, 5, 6, 7]):
            raise StopError

    for _ in range(2):
        with pytest.raises(StopError):
            fit(network(), train, validate, settings, tmp_path / "stopped", on_epoch=stop)
    fit(network(), train, validate, settings, tmp_path / "stopped", on_epoch=lambda r: told.append(r.epoch))
    # The epoch in which it stopped is done again, no other.
    assert told == [1, 2, 3, 3, 4, 5, 6, 7, *range(7, epochs + 1)]
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    if schedule == "plateau":
        rates = [float(row["learning_rate"]) for row in rows(tmp_path / "whole")]
        assert rates == pytest.approx([0.05] * 3 + [0.005] * 3 + [0.0005] * 2)


def test_without_tensorboard_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validate = datasets(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("pytorch_lightning.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    with pytest.raises(RequestError, match=r'pip install "glacierseg\[tensorboard\]"'):
        fit(network(), train, validate, plan(tensorboard=True), tmp_path / "r")


def test_tensorboard_gets_every_epoch(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train, validate = datasets(tmp_path)
    fit(network(), train, validate, plan(tensorboard=True, epochs=2), tmp_path / "r")
    events = reader.EventAccumulator(str(tmp_path / "r/tensorboard")).Reload()
    logged = [round(event.value, 5) for event in events.Scalars("val_loss")]
    assert logged == [pytest.approx(float(row["val_loss"]), abs=1e-5) for row in rows(tmp_path / "r")]


def test_glacier_share_is_kept_in_every_epoch(tmp_path: Path) -> None:
    train, _ = datasets(tmp_path)
    held = train.hold_glacier()
    for patch, holds in zip(train.patches, held, strict=True):
        truth = train.reader.regions[0].truth[patch.row : patch.row + 32, patch.column : patch.column + 32]
        assert holds == (truth == 1).any()
    glacier = np.arange(40) % 8 == 0
    for share in (0.25, 0.5, 1.0, 0.0):
        sampler = EpochSampler(40, 32, 1, glacier=glacier, glacier_share=share)
        seen: list[int] = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            draws = list(sampler)
            assert glacier[np.array(draws) % 40].sum() == round(32 * share)
            seen += draws
        assert len(set(seen)) == len(seen) == 96


@pytest.mark.parametrize(("per_epoch", "world"), [(32, 2), (33, 2), (32, 4), (20, 3)])
def test_processes_together_draw_what_one_would(per_epoch: int, world: int) -> None:
    whole = list(EpochSampler(10, per_epoch, 1))
    shares = [list(EpochSampler(10, per_epoch, 1, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    together = [draw for step in zip(*shares, strict=True) for draw in step]
    assert together == whole[: per_epoch // world * world]


@pytest.mark.parametrize("count", [1, 7, 8, 33])
@pytest.mark.parametrize("world", [1, 2, 5])
def test_validation_batches_are_shared_out_whole(count: int, world: int) -> None:
    whole = list(SharedBatches(count, 4))
    assert [i for batch in whole for i in batch] == list(range(count))
    shares = [list(SharedBatches(count, 4, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    counted = [
        (i * world + rank, batch)
        for rank, share in enumerate(shares)
        for i, batch in enumerate(share)
        if i * world + rank < len(whole)
    ]
    assert [batch for _, batch in sorted(counted)] == whole


def test_a_run_folder_may_be_moved_before_it_is_continued(tmp_path: Path) -> None:
    train, validate = datasets(tmp_path)
    nets = {}
    for name in ("still", "moved"):
        nets[name] = network()

        def stop(record: EpochRecord, name: str = name) -> None:
            if name == "moved" and record.epoch == 3:
                raise KeyboardInterrupt

        settings = plan(epochs=5, learning_rate=5e-3)
        folder = tmp_path / name
        if name == "moved":
            with pytest.raises(KeyboardInterrupt):
                fit(nets[name], train, validate, settings, tmp_path / "before", on_epoch=stop)
            (tmp_path / "before").rename(folder)
            nets[name] = network()
        result = fit(nets[name], train, validate, settings, folder)
        kept = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
        assert kept["epoch"] == result.best_epoch - 1
    assert rows(tmp_path / "still") == rows(tmp_path / "moved")
    for one, other in zip(nets["still"].parameters(), nets["moved"].parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_is_no_number_is_one_line(tmp_path: Path) -> None:
    train, validate = datasets(tmp_path)
    net = network()
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    with pytest.raises(RequestError, match="the loss is not finite in epoch 1"):
        fit(net, train, validate, plan(), tmp_path / "r")


OLD = ("blue", "red", "slope")


def trained(folder: Path, name: str, **options: object) -> nn.Module:
    torch.manual_seed(1)
    network = create_model(name, 3, 2, 0.125, **options).eval()
    card = ModelCard(
        architecture=name, width=0.125, options=options, bands=OLD, band_mean=(0, 0, 0), band_std=(1, 1, 1),
        patch_px=32,
    )  # fmt: skip
    save_model(folder, network, card)
    return network


NETWORKS = [
    ("m_landsnet", {}, {}),
    ("unetplusplus", {"deep_supervision": True}, {"deep_supervision": True}),
    ("glavitu", {}, {}),
    ("glavitu_global", {"groups": [[1, 0], [2]]}, {"groups": [[1, 2], [0, 3]]}),
]


@pytest.mark.parametrize(("name", "old_options", "options"), NETWORKS, ids=[n[0] for n in NETWORKS])
def test_weights_go_over_by_band_name(
    tmp_path: Path, name: str, old_options: dict[str, Any], options: dict[str, Any]
) -> None:
    source = trained(tmp_path, name, **old_options)
    torch.manual_seed(2)
    bands = ("slope", "nir", "red", "elevation")
    network = create_model(name, 4, 2, 0.125, **options).eval()
    inherited = start_from(network, bands, tmp_path, name)
    assert inherited == Inherited(("slope", "red"), ("nir", "elevation"))
    x = torch.randn(1, 4, 32, 32)
    x[:, [1, 3]] = 0
    old = torch.zeros(1, 3, 32, 32)
    old[:, 1], old[:, 2] = x[:, 2], x[:, 0]
    torch.testing.assert_close(network(x), source(old))


def test_the_same_bands_give_the_same_network(tmp_path: Path) -> None:
    source = trained(tmp_path, "glavitu")
    torch.manual_seed(2)
    network = create_model("glavitu", 3, 2, 0.125).eval()
    start_from(network, OLD, tmp_path, "glavitu")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), source.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "width", "bands", "message"),
    [
        ("m_landsnet", 0.125, OLD, "is a glavitu, and m_landsnet is to start from it"),
        ("glavitu", 0.25, OLD, "has another width"),
        ("glavitu", 0.125, ("ndsi",), "has none of the bands ndsi; it was trained on blue, red, slope"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, name: str, width: float, bands: tuple[str, ...], message: str
) -> None:
    trained(tmp_path, "glavitu")
    with pytest.raises(CheckpointError, match=message):
        start_from(create_model(name, len(bands), 2, width), bands, tmp_path, name)
