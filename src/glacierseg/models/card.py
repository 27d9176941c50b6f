"""What is kept of a trained network: weights as safetensors and a card that says what they need."""

import json
from collections.abc import Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glacierseg._version import __version__
from glacierseg.choices import Storage
from glacierseg.errors import CheckpointError, RequestError, UnknownModelError
from glacierseg.models.registry import create_model
from glacierseg.models.scaling import Scaling
from glacierseg.raster.values import BandValues
from glacierseg.raster.write import atomic_path, write_text
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.refine import RefineSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, CARD = ModelFolder.weights.name, ModelFolder.card.name
SMALL_KERNEL = 1000
"""Numbers of a kernel that is never stored with fewer digits.

First and last layers are that small, and rounding them moves probabilities most: with them kept, the largest
change of `alps-sentinel2` is 0.001 in place of 0.029, for 0.01 MB more.
"""
_LISTED_REGIONS = 4


class WindowChoice(BaseModel):
    """The cheapest windows that predict as well as the blend, by validation pixels of a run.

    Attributes:
        window_px: Side of the windows.
        overlap: Share of a window that the next one covers too.
        iou: Glacier IoU with them.
        blend_iou: On the same pixels with windows of the training patch that overlap by half.
        cost: Pixels that they compute, of those that the blend computes, on a large scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_px: int
    overlap: float
    iou: float
    blend_iou: float
    cost: float


class ModelCard(BaseModel):
    """Everything besides the weights that prediction needs, and the facts of the training.

    Attributes:
        architecture: Name of the network (`glacierseg.models.registry.model_spec`).
        classes: Number of classes; the last is glacier.
        width: Width multiplier.
        options: Further arguments of the network.
        bands: Names of the input bands in order.
        band_mean: What to subtract from each band.
        band_std: What to divide each band by then.
        band_log_floor: Where not empty, the bands with a value become the natural logarithm first, lower
            values raised to it.
        patch_px: Side of the training patches.
        recipe: How the bands of the training scenes were made, a key of `raster.prepare.recipes.RECIPES`;
            empty where their files do not say the same.
        may_miss: Bands that a scene may lack, since training blanked their modality in some patches.
        unit: Of the bands of reflected light in training, in words; empty where their values did not tell.
        band_values: Percentiles of each band over the training pixels; empty in cards of earlier versions.
        ranges: By band, the values that became the darkest and brightest level where training scenes were
            normalized (`glacierseg.raster.prepare.normalize`); empty where they were not.
        pixel_m: Side of the training scenes' pixels on the ground.
        training_dates: Days of the training scenes, as far as their files have them.
        training_latitudes: Of the southernmost and northernmost of these scenes, in degrees.
        training: Facts of the training, for people.
        calibration: How its probabilities become calibrated ones, as `predict.calibration` writes it; None
            before it was measured.
        refinement: How its masks are best refined, by validation pixels; None before it was tuned.
        windows: In which windows it predicts unless the user says otherwise; None before they were measured.
        version: glacierseg's version that wrote the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    classes: int = 2
    width: float = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    bands: tuple[str, ...]
    band_mean: tuple[float, ...]
    band_std: tuple[float, ...]
    band_log_floor: tuple[float | None, ...] = ()
    patch_px: int
    recipe: str = ""
    may_miss: tuple[str, ...] = ()
    unit: str = ""
    band_values: tuple[BandValues, ...] = ()
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    pixel_m: float | None = None
    training_dates: tuple[date, ...] = ()
    training_latitudes: tuple[float, ...] = ()
    training: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    refinement: RefineSettings | None = None
    windows: WindowChoice | None = None
    version: str = __version__

    def __repr__(self) -> str:
        regions = [str(name) for name in self.training.get("regions", ())]
        if (more := len(regions) - _LISTED_REGIONS) > 0:
            regions[_LISTED_REGIONS:] = [f"{more} more regions"]
        found = {
            "bands": ", ".join(self.bands),
            "patch": f"{self.patch_px} px" + (f" of {self.pixel_m:g} m" if self.pixel_m else ""),
            "unit": self.unit,
            "trained on": ", ".join(regions),
        }
        known = "; ".join(f"{what} {value}" for what, value in found.items() if value)
        return f"ModelCard({self.architecture}; {known})"

    __str__ = __repr__

    @property
    def scaling(self) -> Scaling:
        """How band values become input."""
        return Scaling(self.band_mean, self.band_std, self.band_log_floor)

    @property
    def fills(self) -> dict[str, float]:
        """By band that may be missing, the value that becomes 0, the mean of the training."""
        middle = self.scaling.undo(np.zeros((len(self.bands), 1, 1), np.float32))[:, 0, 0]
        return {
            band: float(value)
            for band, value in zip(self.bands, middle, strict=True)
            if band in self.may_miss
        }

    def build(self) -> "nn.Module":
        """Makes the network with fresh weights."""
        options = dict(self.options)
        # Its weights follow from the folder: none need be downloaded.
        options.pop("encoder_weights", None)
        return create_model(self.architecture, len(self.bands), self.classes, self.width, **options)


def is_large_kernel(tensor: "Tensor") -> bool:
    """Whether a tensor of a network is stored with fewer digits where that is asked for."""
    return tensor.ndim > 1 and tensor.numel() > SMALL_KERNEL


def save_model(folder: Path, network: "nn.Module", card: ModelCard, *, storage: Storage = "float32") -> None:
    """Writes `model.json` and then `model.safetensors`; once the weights are there, the folder is complete.

    Args:
        folder: The model folder, made when missing.
        network: The trained network.
        card: Its card.
        storage: Data type of the large kernels in the file; `load_model` gives float32 again. Kernels of at
            most `SMALL_KERNEL` numbers, biases and what batch norm keeps stay as they are.

    Raises:
        OutputError: The folder cannot be written to.
    """
    import torch  # noqa: PLC0415
    from safetensors.torch import save  # noqa: PLC0415  (brings torch)

    write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")
    with atomic_path(folder / WEIGHTS) as part:
        tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        if storage != "float32":
            dtype = getattr(torch, storage)
            kernels = {key: value.to(dtype) for key, value in tensors.items() if is_large_kernel(value)}
            tensors |= kernels
        # Facts stand in the card alone: as metadata of this file their order varies, and with it the bytes.
        # Written here, as its own writing would hide the file from the group that a cluster shares it with.
        part.write_bytes(save(tensors))


def read_card(folder: Path) -> ModelCard:
    """Reads a model folder's card.

    Raises:
        CheckpointError: There is no card, or it is not one.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: is no model folder (it has no {CARD}); give the folder of a trained model"
        )
    try:
        return ModelCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise CheckpointError(f"{path}: is not a card of glacierseg; train the model again") from error


def update_card(folder: Path, **changes: Any) -> None:
    """Writes what was found out after the training into the card of a model folder.

    Args:
        folder: The model folder; its weights are not touched.
        changes: Fields of the card.

    Raises:
        CheckpointError: There is no card, or it is not one.
        OutputError: The folder cannot be written to.
    """
    card = read_card(folder).model_copy(update=changes)
    write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")


def load_model(folder: Path | str, *, prune_level: int | None = None) -> tuple["nn.Module", ModelCard]:
    """Loads a trained network. Runs no pickle.

    Args:
        folder: A model folder.
        prune_level: Compute only so many steps of a `unetplusplus` with deep supervision.

    Returns:
        The network in evaluation mode, and its card.

    Raises:
        CheckpointError: The folder is not a model folder, its network is unknown, or weights and card do not
            fit together.
        RequestError: The network cannot be pruned, or not to that level.
    """
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    card = read_card(Path(folder))
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder}: has no {WEIGHTS}; its training did not finish, run it again")
    try:
        network = card.build()
    except UnknownModelError as error:
        raise CheckpointError(
            f"{Path(folder) / CARD}: {error}; train another network, or predict with the version that "
            "trained this one"
        ) from error
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(
            f"{path}: does not fit its {CARD} or is damaged; train the model again"
        ) from error
    if prune_level is not None:
        if not hasattr(network, "prune_level"):
            raise RequestError(
                f"{folder}: is a {card.architecture}, which cannot be pruned; leave prune_level out"
            )
        network.prune_level = prune_level  # type: ignore[assignment]
    return network.eval(), card


def fingerprint(network: "nn.Module", scaling: Scaling | None) -> str:
    """Returns a word that changes with the weights, the scaling and the level of pruning.

    Of a network without a scaling, which is not ours, nothing is known but its class, its settings in words
    and its weights; two that differ in none of them are taken for the same.
    """
    mean, std, floor = (scaling.mean, scaling.std, scaling.floor) if scaling else ((), (), ())
    digest = sha256(json.dumps([mean, std, getattr(network, "prune_level", None)]).encode())
    if scaling is None:
        digest.update(f"{type(network).__module__}.{type(network).__qualname__} {network}".encode())
    if any(floor):
        digest.update(json.dumps(floor).encode())
    for key, tensor in network.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def fingerprints(folders: Sequence[Path]) -> str:
    """Returns the words of the networks in some model folders, as the tags of what they predict have them.

    Raises:
        CheckpointError: One is no model folder.
    """
    loaded = [load_model(folder) for folder in folders]
    return ",".join(fingerprint(network, card.scaling) for network, card in loaded)
