"""The states of a training on disk: the best and the last one, and how to go on from the last."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from glacierseg.errors import RequestError
from glacierseg.training.plan import TrainingPlan


def states_folder(folder: Path) -> Path:
    """Where a model folder keeps the states of an unfinished training."""
    return folder / "checkpoints"


def state_writers(folder: Path, plan: TrainingPlan) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Returns what writes the best state, and what writes the last one after every epoch.

    Lightning's own `save_last` writes only when there is a new best: after a kill hours would be lost.
    """
    # Without anything to monitor each epoch takes the place of the one before.
    monitor = None if plan.monitor == "last" else plan.monitor
    best = ModelCheckpoint(
        states_folder(folder), "best", monitor, mode=plan.mode, enable_version_counter=False
    )
    # Second, so that what it writes knows of the best one of the same epoch.
    return best, ModelCheckpoint(states_folder(folder), "last", enable_version_counter=False)


def last_state(folder: Path) -> Path | None:
    """Returns the state to go on from, if there is one that is whole; one cut short is removed."""
    path = states_folder(folder) / "last.ckpt"
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (torch raises many kinds for a damaged file)
        path.unlink()
        return None
    # Lightning forgets the best epoch when the folder has been moved, so the state is moved along.
    here = os.path.realpath(path.parent)
    moved = [_move(kept, here) for name, kept in state["callbacks"].items() if "ModelCheckpoint" in name]
    if any(moved):
        torch.save(state, path)
    return path


def load_best(network: nn.Module, folder: Path, best_epoch: int) -> None:
    """Puts the best state's weights into a network. Runs no pickled code.

    Args:
        network: Its weights are replaced.
        folder: The model folder.
        best_epoch: Its 1-based number, to be sure.

    Raises:
        RequestError: The state is of another epoch.
    """
    path = states_folder(folder) / "best.ckpt"
    kept = torch.load(path, map_location="cpu", weights_only=True)
    if kept["epoch"] != best_epoch - 1:
        raise RequestError(f"{path.parent}: does not hold the best epoch; remove that folder and train again")
    network.load_state_dict({k.removeprefix("network."): v for k, v in kept["state_dict"].items()})


def remove_states(folder: Path) -> None:
    """Removes the states once the finished weights are stored."""
    shutil.rmtree(states_folder(folder), ignore_errors=True)


def _move(kept: dict[str, Any], here: str) -> bool:
    # Lightning has no public way to that (tests/test_private.py).
    old = kept["dirpath"]
    if old == here:
        return False
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        kept[key] = kept[key].replace(old, here)
    kept["best_k_models"] = {path.replace(old, here): score for path, score in kept["best_k_models"].items()}
    kept["dirpath"] = here
    return True
