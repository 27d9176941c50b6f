"""What a training step costs: our defaults against plain torch, and Lightning against a bare loop.

Three ways take turns on the same network, so that a noisy machine disturbs all alike: plain torch (float32,
default layout), a bare loop around the step that `fit` makes (channels_last, fused AdamW, bf16 where the
hardware computes in it), and `fit` itself, which adds Lightning and patches from a scene on disk.

    python benchmarks/training_step.py [--model NAME ...] [--width 0.25] [--batch 8] [--steps 8] [--rounds 3]

`--full` makes a few steps of full-size unetplusplus on 256 px patches instead and prints the peak memory.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.registry import MODELS, create_model
from glacierseg.models.scaling import Scaling
from glacierseg.raster.scene import open_scene
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.fit import fit, resolved_precision
from glacierseg.training.losses import make_loss
from glacierseg.training.states import EpochRecord

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.predict_scene import BANDS, make_scene


def make_datasets(folder: Path, patch_px: int, count: int) -> tuple[PatchDataset, PatchDataset]:
    """Patches of `folder/scene.tif`, which is made where it is missing."""
    path = folder / "scene.tif"
    if not path.exists():
        make_scene(path, 16 * patch_px, 16 * patch_px)
    scene = open_scene(path)
    truth = np.random.default_rng(1).integers(0, 2, scene.grid.shape, np.uint8)
    region = Region("made", scene, truth, np.ones(truth.shape, np.uint8))
    patches = place_patches([region], "train", patch_px, overlap=0.5)[:count]
    reader, scaling = PatchReader([region], patch_px), Scaling((128.0,) * BANDS, (74.0,) * BANDS)
    train = PatchDataset(reader, patches, "train", scaling, augmentation=Augmentation())
    return train, PatchDataset(reader, patches[:1], "train", scaling)


def plan_of(name: str, batch: int, **changes: Any) -> TrainingPlan:
    """The network's own way of training, for two epochs."""
    spec = MODELS[name]
    own = {"loss": spec.loss, "learning_rate": spec.learning_rate, "clip_norm": spec.clip_norm}
    return TrainingPlan.model_validate(own | {"batch_size": batch, "epochs": 2} | changes)


def make_step(
    network: torch.nn.Module,
    image: torch.Tensor,
    target: torch.Tensor,
    plan: TrainingPlan,
    *,
    ours: bool = True,
    heads: Callable[..., Any] = weighted_heads,
) -> Callable[[], None]:
    """Returns what makes one step on the device of the image: as plain torch does, or as `fit`.

    `heads` is `weighted_heads`, or that compiled.
    """
    optimizer = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=0.0, fused=ours)
    loss_of = make_loss(plan.loss)
    bf16 = ours and resolved_precision(plan.precision) == "bfloat16"

    def step() -> None:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=bf16):
            pairs = heads(network, image)
            loss = torch.stack([weight * loss_of(logits, target) for weight, logits in pairs]).sum()
        optimizer.zero_grad()
        loss.backward()
        if plan.clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm)
        optimizer.step()

    return step


def bare_loop(name: str, width: float, batch: int, steps: int, *, ours: bool, plan: TrainingPlan) -> float:
    """Seconds per step, the first one left out."""
    torch.manual_seed(0)
    network, patch_px = create_model(name, BANDS, 2, width).train(), MODELS[name].default_patch_px
    layout = torch.channels_last if ours else torch.contiguous_format
    network.to(memory_format=layout)  # type: ignore[call-overload]
    image = torch.randn(batch, BANDS, patch_px, patch_px).contiguous(memory_format=layout)
    target = torch.randint(0, 2, (batch, patch_px, patch_px))
    step = make_step(network, image, target, plan, ours=ours)
    step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps


def through_fit(
    name: str, width: float, patch_px: int, plan: TrainingPlan, scene_folder: Path | None = None
) -> EpochRecord:
    """The second epoch, its one validation patch included: `seconds`, and of these `waiting_seconds` for
    patches. The scene of `scene_folder` is used, or one made for it."""
    records: list[EpochRecord] = []
    with tempfile.TemporaryDirectory() as folder:
        count = plan.patches_per_epoch or plan.batch_size
        train, validate = make_datasets(scene_folder or Path(folder), patch_px, count)
        torch.manual_seed(0)
        fit(create_model(name, BANDS, 2, width), train, validate, plan, Path(folder), on_epoch=records.append)
    return records[-1]


def compare(name: str, arguments: argparse.Namespace) -> None:
    plan = plan_of(name, arguments.batch, patches_per_epoch=arguments.batch * arguments.steps)
    sizes = name, arguments.width, arguments.batch, arguments.steps
    rows = []
    for _ in range(arguments.rounds):
        plain = bare_loop(*sizes, ours=False, plan=plan)
        bare = bare_loop(*sizes, ours=True, plan=plan)
        record = through_fit(name, arguments.width, MODELS[name].default_patch_px, plan)
        fitted = record.seconds / arguments.steps
        waiting = record.waiting_seconds / record.seconds
        rows.append((plain, bare, fitted, plain / bare, fitted / bare, waiting))
    plain, bare, fitted, gain, over, waiting = (median(column) for column in zip(*rows, strict=True))
    print(
        f"{name:15s} plain {1000 * plain:7.0f} ms   bare {1000 * bare:7.0f} ms ({gain:.2f} x faster)   "
        f"fit {1000 * fitted:7.0f} ms ({over:.2f} of bare, waiting {waiting:.1%})",
        flush=True,
    )


def full_size(batch: int, steps: int) -> None:
    plan = TrainingPlan(loss="dice_focal", learning_rate=1e-3, batch_size=batch, epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        train, validate = make_datasets(Path(folder), 256, batch * steps)
        torch.manual_seed(0)
        record: list[EpochRecord] = []
        network = create_model("unetplusplus", BANDS)
        fit(network, train, validate, plan, Path(folder), on_epoch=record.append)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"unetplusplus, full size, {steps} steps of {batch} x {BANDS} x 256 x 256: "
        f"{record[0].seconds / steps:.1f} s a step, loss {record[0].train_loss:.3f}, peak {peak_gb:.1f} GB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=["m_landsnet", "glavitu", "unetplusplus"])
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    best = resolved_precision("auto")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {best}")
    if arguments.full:
        full_size(arguments.batch, arguments.steps)
        return
    for name in arguments.model:
        compare(name, arguments)


if __name__ == "__main__":
    main()
