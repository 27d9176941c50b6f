"""Running a training from its first weights to its end: early stopping, best weights, resuming."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from glacierseg.choices import TrainPrecision
from glacierseg.data.patches import PatchDataset, PatchTensors, as_batch
from glacierseg.data.sampler import EpochSampler, SharedBatches
from glacierseg.errors import CheckpointError, RequestError
from glacierseg.models.blocks import band_readers, may_leave_weights_unused
from glacierseg.models.card import load_model
from glacierseg.models.device import has_native_bf16
from glacierseg.models.layout import DEFAULT, FORMATS, training_layout
from glacierseg.raster.write import full_disk_refused
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.processes import Processes, SynchronisedBatchNorm, find_processes, join
from glacierseg.training.states import (
    EpochRecord,
    EpochTable,
    last_state,
    load_best,
    state_writers,
    states_folder,
)
from glacierseg.training.task import SegmentationTask

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "64-true"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float64": "64-true",
}


@dataclass(frozen=True)
class FitResult:
    """What a training came to; scores are those of the epoch, counted from 1, whose weights were kept."""

    epochs: int
    best_epoch: int
    best_iou: float
    train_iou: float
    best_loss: float
    stopped_early: bool


def fit(
    network: nn.Module,
    train: PatchDataset,
    validate: PatchDataset,
    plan: TrainingPlan,
    folder: Path,
    *,
    progress: bool = False,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> FitResult:
    """Trains a network in place and leaves it with the best weights.

    While it runs, `folder/checkpoints` holds the best and the last state; a later call with the same
    arguments goes on from the last. `folder/epochs.csv` grows with every epoch. Under `torchrun` or SLURM
    the processes train together, and the result is that of one process with the same `batch_size`.

    Args:
        network: The network; its weights are changed.
        train: Patches to train on.
        validate: Patches to choose the best epoch by.
        plan: How to train.
        folder: Where the epoch table and the states go.
        progress: Show a progress bar.
        on_epoch: Called after each epoch, in the first process.

    Raises:
        RequestError: There are no patches, the batch does not share out among the processes, TensorBoard is
            not installed, the network trains in one process only, or the loss is not finite.
        KeyboardInterrupt: The user interrupted.
    """
    for dataset, role in ((train, "train"), (validate, "validate")):
        if not len(dataset):
            raise RequestError(
                f"there is no patch to {role} on; give a region or part with that role and truth"
            )
    _quiet_lightning()
    processes = find_processes()
    join(processes)
    if plan.batch_size % processes.count:
        raise RequestError(
            f"batch_size is {plan.batch_size}, which {processes.count} processes cannot share out evenly; "
            "give a multiple"
        )
    on_gpu = torch.cuda.is_available()
    if processes.count > 1:
        _check_norms(network)
        if not on_gpu:
            SynchronisedBatchNorm.replace_in(network)
    table = EpochTable(ModelFolder(folder).epochs, on_epoch if processes.is_first else None)
    stopping = _stopping(plan)
    shown = progress and processes.is_first
    trainer = pl.Trainer(
        max_epochs=plan.epochs,
        accelerator="auto",
        devices=processes.per_node,
        num_nodes=processes.nodes,
        strategy=_strategy(network, processes),
        sync_batchnorm=on_gpu and processes.count > 1,
        use_distributed_sampler=False,
        precision=_PRECISIONS[resolved_precision(plan.precision)],
        gradient_clip_val=plan.clip_norm,
        callbacks=[
            table,
            *([stopping] if stopping else []),
            *state_writers(folder, plan),
            *([TQDMProgressBar(leave=False)] if shown else []),
        ],
        logger=_tensorboard(folder) if plan.tensorboard else False,
        enable_progress_bar=shown,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    train_loader, val_loader = _loaders(train, validate, plan, processes)
    layout = _layout(network, len(train.scaling.mean), plan, processes)
    task = SegmentationTask(
        network.to(memory_format=layout),  # type: ignore[call-overload]
        train.scaling,
        plan,
        -(-len(validate) // plan.batch_size),
        processes,
        soft=train.soft,
    )
    task.scale.layout = layout
    states_folder(folder).mkdir(parents=True, exist_ok=True)
    with full_disk_refused(states_folder(folder)), _interruption_raised(trainer):
        trainer.fit(task, train_loader, val_loader, ckpt_path=last_state(folder))
    winner = _winner(table.records, plan)
    load_best(network, folder, winner.epoch)
    return FitResult(
        epochs=len(table.records),
        best_epoch=winner.epoch,
        best_iou=winner.val_iou,
        train_iou=winner.train_iou,
        best_loss=winner.val_loss,
        stopped_early=stopping is not None and stopping.stopped_epoch > 0,
    )


def _stopping(plan: TrainingPlan) -> EarlyStopping | None:
    if plan.monitor == "last":
        return None
    # min_delta 0: what counts as better for stopping is what counts as better for keeping.
    return EarlyStopping(
        plan.monitor, min_delta=0.0, patience=plan.patience, mode=plan.mode, check_finite=False
    )


def _winner(records: Sequence[EpochRecord], plan: TrainingPlan) -> EpochRecord:
    """Returns the epoch that is kept: the earliest of the best ones, or the last."""
    if plan.monitor == "last":
        return records[-1]
    return min(records, key=lambda r: -r.val_iou if plan.monitor == "val_iou" else r.val_loss)


def resolved_precision(precision: TrainPrecision) -> str:
    """Returns what `auto` means on this machine, or what was asked for."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_native_bf16() else "float32"


def _layout(network: nn.Module, bands: int, plan: TrainingPlan, processes: Processes) -> torch.memory_format:
    """Returns the order in memory; of all processes it is one, as they add up gradients the way they lie."""
    measured = not torch.cuda.is_available() and resolved_precision(plan.precision) == "float32"
    return FORMATS[training_layout(network, bands) if measured and processes.count == 1 else DEFAULT]


def _check_norms(network: nn.Module) -> None:
    """Refuses batch norms of other classes: timm's hold a ReLU, which would be lost with them."""
    kinds = {type(module) for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    if odd := kinds - {nn.BatchNorm2d, SynchronisedBatchNorm}:
        raise RequestError(
            f"this network's {odd.pop().__name__} cannot be synchronised over several processes; "
            "train it in one"
        )


def _strategy(network: nn.Module, processes: Processes) -> str:
    if processes.count == 1:
        return "auto"
    # To look in every step for weights without a gradient takes time, so only where there may be some.
    return "ddp_find_unused_parameters_true" if may_leave_weights_unused(network) else "ddp"


def _loaders(
    train: PatchDataset,
    validate: PatchDataset,
    plan: TrainingPlan,
    processes: Processes,
) -> tuple[DataLoader[PatchTensors], DataLoader[PatchTensors]]:
    own_batch = plan.batch_size // processes.count
    sampler = EpochSampler(
        len(train),
        plan.patches_per_epoch,
        plan.seed,
        processes.rank,
        processes.count,
        glacier=None if plan.glacier_share is None else train.hold_glacier(),
        glacier_share=plan.glacier_share,
    )
    # Batch norm cannot learn from a last batch of one.
    single = len(sampler) > own_batch and len(sampler) % own_batch == 1
    shared = SharedBatches(len(validate), plan.batch_size, processes.rank, processes.count)
    reading: Any = {
        "collate_fn": as_batch,
        "num_workers": plan.workers,
        "persistent_workers": plan.workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    return (
        DataLoader(train, own_batch, sampler=sampler, drop_last=single, **reading),
        DataLoader(validate, batch_sampler=shared, **reading),
    )


def _tensorboard(folder: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise RequestError(
            "training.tensorboard is true, but TensorBoard is not installed; "
            'run `pip install "glacierseg[tensorboard]"` or set it to false'
        ) from error


@contextmanager
def _interruption_raised(trainer: pl.Trainer) -> Iterator[None]:
    """Raises KeyboardInterrupt where Lightning would swallow it or turn it into an exit of its own."""
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if trainer.interrupted:
        raise KeyboardInterrupt


def _quiet_lightning() -> None:
    """Keeps Lightning's tips and device notes off the terminal; what matters is in our own table."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\.")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|exists and is not empty).*")


@dataclass(frozen=True)
class Inherited:
    """Bands whose weights were taken over from another network, and fresh ones."""

    kept: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from(network: nn.Module, bands: Sequence[str], model_dir: Path, architecture: str) -> Inherited:
    """Copies the weights of a trained network into a fresh one of the same architecture.

    Where the first convolutions read the bands, weights go over by band name.

    Args:
        network: Fresh; its weights are replaced.
        bands: Its bands, in order.
        model_dir: Folder of the trained network.
        architecture: Name of the network, for the message.

    Raises:
        CheckpointError: The folder holds no network, one of another architecture or size, or one that has no
            band in common with the new one.
    """
    source, card = load_model(model_dir)
    if card.architecture != architecture:
        raise CheckpointError(
            f"{model_dir}: is a {card.architecture}, and {architecture} is to start from it; "
            f"give the folder of a {architecture}"
        )
    kept = tuple(band for band in bands if band in card.bands)
    if not kept:
        raise CheckpointError(
            f"{model_dir}: has none of the bands {', '.join(bands)}; "
            f"it was trained on {', '.join(card.bands)}"
        )
    old_readers, new_readers = band_readers(source), band_readers(network)
    old, new = source.state_dict(), network.state_dict()
    if old.keys() != new.keys():
        odd = min(old.keys() ^ new.keys())
        raise CheckpointError(
            f"{model_dir}: was built with other options (they differ in {odd}); "
            "give the model the same options and modalities"
        )
    for key, values in new.items():
        if key in new_readers:
            _by_band(
                values,
                [bands[i] for i in new_readers[key]],
                old[key],
                [card.bands[i] for i in old_readers[key]],
                model_dir,
            )
        elif values.shape == old[key].shape:
            values.copy_(old[key])
        else:
            raise _other_size(model_dir)
    return Inherited(kept, tuple(band for band in bands if band not in kept))


def _by_band(
    new: torch.Tensor, bands: Sequence[str], old: torch.Tensor, old_bands: Sequence[str], model_dir: Path
) -> None:
    if new.shape[0] != old.shape[0] or new.shape[2:] != old.shape[2:]:
        raise _other_size(model_dir)
    # A network that makes several maps of each band reads it several times, in the same turn each time.
    places = {turn: i for i, turn in enumerate(_in_turn(old_bands))}
    for i, turn in enumerate(_in_turn(bands)):
        if turn in places:
            new[:, i].copy_(old[:, places[turn]])


def _in_turn(bands: Sequence[str]) -> list[tuple[str, int]]:
    """Each band with how often it came before."""
    return [(band, list(bands[:i]).count(band)) for i, band in enumerate(bands)]


def _other_size(model_dir: Path) -> CheckpointError:
    return CheckpointError(f"{model_dir}: has another width than the network that is to start from it")
