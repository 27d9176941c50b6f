"""Band importance: which bands a trained network looks at, and the best few of them."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glacierseg.dataset.scaling import Scaling
from glacierseg.errors import DataError, RequestError
from glacierseg.predict.members import matching_scene
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import IGNORE, load_truth
from glacierseg.raster.write import write_text
from glacierseg.tiling import window_starts
from glacierseg.training.checkpoint import ModelCard, load_model

if TYPE_CHECKING:
    from torch import Tensor, nn

BatchOfPatches = tuple["Tensor", "Tensor"]


@dataclass(frozen=True)
class BandImportance:
    """Importance of one band.

    Attributes:
        rank: 1 for the most important band.
        band: Its name.
        importance: Mean absolute input gradient over glacier pixels times the band's spread, as a share of
            the sum over all bands.
        spread: Standard deviation of that share over patches.
    """

    rank: int
    band: str
    importance: float
    spread: float


def gradient_importance(
    network: "nn.Module", batches: Iterable[BatchOfPatches], bands: Sequence[str]
) -> tuple[BandImportance, ...]:
    """Measures how strongly the glacier score of glacier pixels reacts to each band.

    The score is the margin between the glacier and the strongest other logit, summed over labelled glacier
    pixels. Its gradient with respect to the scaled input is already the gradient with respect to the band
    times the band's spread, since scaling divides by the spread. Absolute values are averaged over those
    pixels within a patch, turned into shares of the patch's sum, and the shares averaged over patches, so
    that one patch with a steep network does not decide alone.

    Args:
        network: Trained; put into evaluation mode.
        batches: Scaled images `(B, C, H, W)` and targets `(B, H, W)` of 0, 1 and 255.
        bands: Names in the order of the channels.

    Returns:
        One entry per band, the most important first; equal ones in band order.

    Raises:
        RequestError: No patch holds a glacier pixel.
    """
    network.eval()
    device = next(network.parameters()).device
    shares: list[NDArray[np.float64]] = []
    for image, target in batches:
        image = image.to(device).requires_grad_()  # noqa: PLW2901
        glacier = (target == 1).to(device)
        logits = network(image).float()
        margin = logits[:, -1] - logits[:, :-1].amax(1)
        (margin * glacier).sum().backward()
        gradient = image.grad
        assert gradient is not None  # noqa: S101  (it requires one)
        pixels = glacier.sum((1, 2)).double()
        mean = (gradient.double().abs() * glacier[:, None]).sum((2, 3)) / pixels.clamp(min=1)[:, None]
        for one, count in zip(mean.cpu().numpy(), pixels.tolist(), strict=True):
            if count and one.sum() > 0:
                shares.append(one / one.sum())
    if not shares:
        raise RequestError(
            "band importance needs glacier pixels, and no patch holds any; give a mask with glacier"
        )
    importance, spread = np.mean(shares, 0), np.std(shares, 0)
    order = sorted(range(len(bands)), key=lambda i: (-importance[i], i))
    return tuple(
        BandImportance(rank, bands[i], float(importance[i]), float(spread[i]))
        for rank, i in enumerate(order, start=1)
    )


def top_bands(importance: Sequence[BandImportance], count: int, order: Sequence[str]) -> tuple[str, ...]:
    """Returns the most important bands in the order in which the scene has them.

    Args:
        importance: From `gradient_importance`.
        count: How many.
        order: All bands of the scene.
    """
    best = {entry.band for entry in importance if entry.rank <= count}
    return tuple(band for band in order if band in best)


def write_importance(path: Path, importance: Sequence[BandImportance]) -> None:
    """Writes a table `rank,band,importance,spread`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "band", "importance", "spread"])
    writer.writerows([e.rank, e.band, f"{e.importance:.6f}", f"{e.spread:.6f}"] for e in importance)
    write_text(path, text.getvalue())


def read_importance(path: Path) -> tuple[BandImportance, ...]:
    """Reads what `write_importance` wrote.

    Raises:
        DataError: The file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(
                BandImportance(int(row["rank"]), row["band"], float(row["importance"]), float(row["spread"]))
                for row in csv.DictReader(file)
            )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is damaged; remove it and run again") from error


def band_importance(
    model: "Path | str | nn.Module",
    scene: Scene | Path | str | Sequence[Path | str],
    mask: Path | str,
    *,
    card: ModelCard | None = None,
    patches: int = 64,
    batch_size: int = 8,
) -> tuple[BandImportance, ...]:
    """Measures band importance of a network on a scene with truth.

    Args:
        model: A model folder, or a network; without a `card` it gets the bands as they are.
        scene: A scene, or its file or files.
        mask: Its truth: a mask on the same grid, or outlines.
        card: Bands, scaling and patch size of a network that is given as a module.
        patches: At most so many patches, spread evenly over those that hold glacier.
        batch_size: Patches per pass.

    Returns:
        One entry per band, the most important first.

    Raises:
        BandError: The scene lacks bands.
        TruthError: The truth cannot be used.
        RequestError: The mask holds no glacier where the scene has data.
    """
    if not isinstance(scene, Scene):
        scene = open_scene(scene)
    network = model
    if isinstance(network, Path | str):
        network, card = load_model(network)
    if card is not None:
        scene = matching_scene(scene, card.bands)
    channels = len(scene.bands)
    scaling = card.scaling if card else Scaling((0.0,) * channels, (1.0,) * channels)
    truth = load_truth(Path(mask), scene.grid)
    size = card.patch_px if card else 256
    batches = _scene_batches(scene, truth, scaling, size, patches=patches, batch_size=batch_size)
    return gradient_importance(network, batches, scene.band_names)


def _scene_batches(
    scene: Scene, truth: NDArray[np.uint8], scaling: Scaling, size: int, *, patches: int, batch_size: int
) -> Iterable[BatchOfPatches]:
    import torch  # noqa: PLC0415

    starts = [
        (row, column)
        for row in window_starts(scene.grid.height, size, size)
        for column in window_starts(scene.grid.width, size, size)
        if (truth[row : row + size, column : column + size] == 1).any()
    ]
    chosen = [
        starts[i] for i in np.linspace(0, len(starts) - 1, min(patches, len(starts))).round().astype(int)
    ]
    with scene.open() as reader:
        for first in range(0, len(chosen), batch_size):
            images, targets = [], []
            for row, column in chosen[first : first + batch_size]:
                values, valid = reader.read(row, column, size, size)
                target = np.full((size, size), IGNORE, np.int64)
                part = truth[row : row + size, column : column + size]
                target[: part.shape[0], : part.shape[1]] = part
                target[~valid] = IGNORE
                images.append(torch.from_numpy(scaling.apply(values, valid)))
                targets.append(torch.from_numpy(target))
            yield torch.stack(images), torch.stack(targets)
