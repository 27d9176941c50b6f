"""Predicting whole scenes to georeferenced files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window

from glacierseg._version import __version__
from glacierseg.dataset.scaling import Scaling
from glacierseg.errors import BandError, RequestError
from glacierseg.predict.stream import Predictor, blended_strips
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import atomic_path, tiff_profile, to_cog
from glacierseg.training.checkpoint import ModelCard, load_model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ScenePrediction:
    """Files of one predicted scene.

    Attributes:
        probability: Glacier probability, float32 from 0 to 1, NaN where the scene has no data.
        mask: 0 background, 1 glacier, 255 no data.
    """

    probability: Path
    mask: Path


def predict_scene(
    model: "Path | str | nn.Module",
    scene: Scene | Path | str | Sequence[Path | str],
    out_dir: Path | str,
    *,
    card: ModelCard | None = None,
    window_px: int | None = None,
    overlap: float = 0.5,
    batch_size: int = 16,
    threshold: float = 0.5,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> ScenePrediction:
    """Predicts glacier probability and mask for every pixel of a scene.

    Args:
        model: A model folder, or a network together with its `card`. A network without a card gets the
            scene's bands as they are, unscaled.
        scene: A scene, or its file or files.
        out_dir: Folder for `<name>_probability.tif` and `<name>_mask.tif`.
        card: Bands, scaling and patch size of a network that is given as a module.
        window_px: Side of a window; the patch size of the training when None.
        overlap: Share of a window that the next one covers too.
        batch_size: Windows per forward pass.
        threshold: Probability from which a pixel is glacier.
        name: What the files start with; the scene's name when None.
        tags: More facts to store in the files.
        progress: Called with the share done.

    Returns:
        Paths of the two files.

    Raises:
        BandError: The scene lacks bands that the network needs.
        RasterError: The scene cannot be read.
        RequestError: Window, overlap, batch size or threshold make no sense.
        OutputError: The folder cannot be written to.
    """
    _check_request(window_px, overlap, batch_size, threshold)
    if not isinstance(scene, Scene):
        scene = open_scene(scene)
    if isinstance(model, Path | str):
        network, card = load_model(model)
    else:
        network = model
    if card is not None:
        scene = matching_scene(scene, card)
    window_px = window_px or (card.patch_px if card else 256)
    out_dir, stem = Path(out_dir), name or scene.name
    facts = {
        "software": f"glacierseg {__version__}",
        "model": card.architecture if card else type(network).__name__,
        "bands": ",".join(scene.band_names),
        "window_px": str(window_px),
        "overlap": f"{overlap:g}",
        "threshold": f"{threshold:g}",
        **(tags or {}),
    }
    return write_prediction(
        scene,
        _predictor(network, card, len(scene.bands)),
        ScenePrediction(out_dir / f"{stem}_probability.tif", out_dir / f"{stem}_mask.tif"),
        window_px=window_px,
        overlap=overlap,
        batch_size=batch_size,
        threshold=threshold,
        tags=facts,
        progress=progress,
    )


def matching_scene(scene: Scene, card: ModelCard) -> Scene:
    """Returns the bands of a scene that a network wants, in its order.

    Raises:
        BandError: The scene lacks some.
    """
    missing = [band for band in card.bands if band not in scene.band_names]
    if missing:
        raise BandError(
            f"{scene.paths[0]}: lacks {', '.join(missing)} that the model was trained on; it has "
            f"{', '.join(scene.band_names)}: name its bands as in {', '.join(card.bands)}"
        )
    return scene.select(card.bands)


def write_prediction(
    scene: Scene,
    predictor: Predictor,
    files: ScenePrediction,
    *,
    window_px: int,
    overlap: float,
    batch_size: int,
    threshold: float,
    tags: Mapping[str, str],
    progress: Callable[[float], None] | None = None,
) -> ScenePrediction:
    """Streams the prediction of a scene into two cloud-optimised GeoTIFFs."""
    grid = scene.grid
    profiles: tuple[dict[str, Any], dict[str, Any]] = (
        tiff_profile(grid, 1, "float32", float("nan")),
        tiff_profile(grid, 1, "uint8", IGNORE),
    )
    with atomic_path(files.probability) as probability, atomic_path(files.mask) as mask:
        plain = probability.with_name("probability.tif"), mask.with_name("mask.tif")
        with (
            rasterio.open(plain[0], "w", **profiles[0]) as probability_file,
            rasterio.open(plain[1], "w", **profiles[1]) as mask_file,
        ):
            for top, rows in blended_strips(
                scene,
                predictor,
                window_px=window_px,
                overlap=overlap,
                batch_size=batch_size,
                progress=progress,
            ):
                window = Window(0, top, grid.width, len(rows))
                probability_file.write(rows, 1, window=window)
                classes = np.where(rows >= threshold, np.uint8(GLACIER), np.uint8(0))
                classes[np.isnan(rows)] = IGNORE
                mask_file.write(classes, 1, window=window)
            for dataset, band in ((probability_file, "glacier_probability"), (mask_file, "glacier")):
                dataset.descriptions = (band,)
                dataset.update_tags(**tags)
        to_cog(plain[0], probability, resampling="average")
        to_cog(plain[1], mask, resampling="nearest")
        for path in plain:
            path.unlink()
    return files


def _predictor(network: "nn.Module", card: ModelCard | None, channels: int) -> Predictor:
    from glacierseg.predict.torch_engine import TorchPredictor  # noqa: PLC0415  (brings torch)
    from glacierseg.training.precision import has_native_bf16  # noqa: PLC0415

    if card is None:
        return TorchPredictor(network, Scaling((0.0,) * channels, (1.0,) * channels))
    return TorchPredictor(network, card.scaling, bf16=has_native_bf16())


def _check_request(window_px: int | None, overlap: float, batch_size: int, threshold: float) -> None:
    if window_px is not None and window_px < 1:
        raise RequestError(f"a window of {window_px} px makes no sense; give 1 or more")
    if not 0 <= overlap < 1:
        raise RequestError(f"an overlap of {overlap:g} makes no sense; give 0 or more and less than 1")
    if batch_size < 1:
        raise RequestError(f"a batch of {batch_size} windows makes no sense; give 1 or more")
    if not 0 < threshold < 1:
        raise RequestError(f"a threshold of {threshold:g} makes no sense; give a probability between 0 and 1")
