"""Predicting whole scenes to georeferenced files."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.choices import Engine, Precision, ProbabilityType
from glacierseg.errors import GlaciersegWarning, RasterError, RequestError
from glacierseg.models.card import ModelCard
from glacierseg.predict.calibration import LogitScale
from glacierseg.predict.files import PLACE_TAG, SOURCE_TAG, ScenePrediction, tags_of, write_files
from glacierseg.predict.job import Job, files_of, plan, strips_folder
from glacierseg.predict.members import Ensemble, load_ensemble
from glacierseg.predict.stream import Predictor, blended_strips, bounded_cache
from glacierseg.predict.strips_folder import StripsFolder, runs_of
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import require_output, writes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.tiling import Tiling
from glacierseg.weights.fitting import Fitted
from glacierseg.weights.own import fit_own
from glacierseg.weights.shelf import Weights

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[float], None]
_GDALS_TAG = "AREA_OR_POINT"


@writes(out_dir=None)
def predict_scene(
    model: "Path | str | Sequence[Path | str] | nn.Module | Ensemble | Weights",
    scene: Scene | Path | str | Sequence[Path | str],
    out_dir: Path | str,
    *,
    card: ModelCard | None = None,
    window_px: int | None = None,
    overlap: float = 0.5,
    halo_px: int = 0,
    batch_size: int = 16,
    threshold: float | None = None,
    symmetries: bool | None = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    int8_model: Path | None = None,
    dtype: ProbabilityType = "float32",
    calibration: LogitScale | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> ScenePrediction:
    """Predicts glacier probability and mask for every pixel of a scene.

    Finished strips are kept in a hidden folder beside the results until those are whole: the same call goes
    on after an interruption, and the result is that of an uninterrupted one.

    Args:
        model: A model folder; several, whose mean is predicted and whose spread becomes a second band; an
            `Ensemble`; `Weights` (`glacierseg.find_weights`), which look at the scene first and warn of what
            is unlike their training; or a network together with its `card`. A network without a card gets the
            scene's bands as they are, unscaled.
        scene: A scene, or its file or files; a virtual mosaic (VRT) is a file like any other.
        out_dir: Folder for `<name>_probability.tif` and `<name>_mask.tif`.
        card: Bands, scaling and patch size of a network that is given as a module.
        window_px: Side of a window; the patch size of the training or what the card of `Weights` says when
            None, 512 with a halo.
        overlap: Share of a window that the next one covers too.
        halo_px: Instead of blending, use only what lies so far inside a window. Cheaper with large windows,
            and another answer: see `glacierseg.predict.halo`.
        batch_size: Windows of the training patch's size per forward pass; of larger ones so many that they
            have as many pixels.
        threshold: Probability from which a pixel is glacier, before any calibration; 0.5 when None, or what
            the card of `Weights` says.
        symmetries: Predict every window in its eight flips and turns, and take the mean; not when None, or
            what the card of `Weights` says.
        engine: What computes; see `glacierseg.predict.engines`.
        precision: What it computes in.
        int8_model: A quantised network, for the precision ``int8``.
        dtype: Of the probability file.
        calibration: Store calibrated probabilities. The mask stays that of the network's own ones.
        name: What the files start with; the scene's name when None.
        tags: More facts to store in the files.
        again: Replace also maps of another scene of the same name.
        progress: Called with the share done.

    Returns:
        Paths of the two files.

    Raises:
        BandError: The scene lacks bands that the network needs.
        ValuesError: The scene's values are in another unit or range than the card of the `Weights` or of a
            model folder tells. A network that is given with its card is not asked.
        RasterError: The scene cannot be read.
        RequestError: Window, overlap, batch size or threshold cannot be, the engine cannot be used, or maps
            of another scene of the same name lie there.
        OutputError: The folder cannot be written to.
    """
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    if isinstance(model, Weights):
        scene, threshold = _told(model.fit(scene)), model.card.threshold if threshold is None else threshold
        window_px = model.window_px if window_px is None and not halo_px else window_px
        symmetries = model.card.symmetries if symmetries is None else symmetries
        tags = {**model.tags, **(tags or {})}
    ensemble = _ensemble_of(model, card)
    if isinstance(model, Path | str | Sequence):
        folders = [model] if isinstance(model, Path | str) else model
        scene = _told(fit_own(ensemble.known(folders), ensemble.matching_scene(scene)))
    threshold = 0.5 if threshold is None else threshold
    job = plan(
        ensemble,
        scene,
        Path(out_dir),
        window_px=window_px,
        overlap=overlap,
        halo_px=halo_px,
        batch_size=batch_size,
        threshold=threshold,
        symmetries=bool(symmetries),
        engine=engine,
        precision=precision,
        int8_model=int8_model,
        name=name,
        tags=tags,
    )
    for path in (job.files.probability, job.files.mask):
        require_output(path)
    if not again:
        _refuse_maps_of_others(job)
    return write_prediction(
        job.scene,
        job.members,
        job.files,
        job.tiling,
        batch_size=job.windows_at_once(batch_size),
        threshold=threshold,
        dtype=dtype,
        calibration=calibration,
        tags=job.facts,
        progress=progress,
    )


def finished_files(
    ensemble: Ensemble, scene: Scene, out_dir: Path, **settings: Any
) -> ScenePrediction | None:
    """Returns the files of a scene if they are there and say that they were made of it, just so.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results go.
        settings: As in `predict_scene`.

    Raises:
        RequestError: They were made of another scene of the same name.
    """
    files = files_of(out_dir, settings.get("name") or scene.name)
    both = files.probability, files.mask
    if not any(path.is_file() for path in both):
        return None
    job = plan(ensemble, scene, out_dir, **settings)
    _refuse_maps_of_others(job)
    if not all(path.is_file() for path in both):
        return None
    told = tags_of(job.facts, settings.get("calibration"))
    for path, wanted in zip(both, (told, job.facts), strict=True):
        try:
            with open_raster(path) as dataset:
                tags = dataset.tags()
                kind = dataset.dtypes[0]
                # What was cut short lacks its last tile.
                dataset.read(window=Window(dataset.width - 1, dataset.height - 1, 1, 1))
        except (RasterError, RasterioError):
            return None
        if _that_matter(tags) != _that_matter(wanted) or (
            path == both[0] and kind != settings.get("dtype", "float32")
        ):
            return None
    return files


def _that_matter(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in tags.items() if key not in {_GDALS_TAG, PLACE_TAG}}


def _refuse_maps_of_others(job: Job) -> None:
    """Raises RequestError when maps lie there that were made neither of these pixels nor of this file.

    A scene that was written anew in its place gets a new map; one of the same name from another folder does
    not take the place of the first one's map without being told to.
    """
    for path in (job.files.probability, job.files.mask):
        if not path.is_file():
            continue
        try:
            with open_raster(path) as dataset:
                tags = dataset.tags()
        except RasterError:  # cut short: nothing to lose
            continue
        if all(tags.get(key) != job.facts[key] for key in (SOURCE_TAG, PLACE_TAG)):
            raise RequestError(
                f"{path}: exists and was not made from {job.scene.paths[0]}; give another --out, or --again "
                "to replace it"
            )


def begin_strips(
    ensemble: Ensemble, scene: Scene, out_dir: Path, **settings: Any
) -> tuple[StripsFolder, int, str]:
    """Makes the folder of a scene's strips, for several processes to write to, and counts the strips.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results will go.
        settings: As in `predict_scene`.

    Returns:
        The folder, the number of strips, and the word for the scene that `predict_strips` takes as `source`.
    """
    job = plan(ensemble, scene, out_dir, **settings)
    return job.folder(), len(job.tops), job.facts[SOURCE_TAG]


def predict_strips(
    ensemble: Ensemble, scene: Scene, out_dir: Path, first: int, last: int, **settings: Any
) -> None:
    """Predicts those of some strips that are missing, and leaves the rest to `predict_scene`.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results will go.
        first: Number of the first strip.
        last: Number of the last strip.
        settings: As in `predict_scene`, and `source`; what only concerns the finished files has no effect.
    """
    job = plan(ensemble, scene, out_dir, **settings)
    folder = job.folder()
    missing = [number for number in folder.missing(len(job.tops)) if first <= number <= last]
    at_once = job.windows_at_once(settings.get("batch_size", 16))
    _finish(folder, missing, job.scene, job.members, job.tiling, batch_size=at_once)


def write_prediction(
    scene: Scene,
    members: Sequence[Predictor],
    files: ScenePrediction,
    tiling: Tiling,
    *,
    batch_size: int,
    threshold: float,
    tags: Mapping[str, str],
    dtype: ProbabilityType = "float32",
    calibration: LogitScale | None = None,
    progress: Progress | None = None,
) -> ScenePrediction:
    """Streams the prediction of a scene into two cloud-optimised GeoTIFFs.

    Args:
        scene: The bands that the networks want, in their order.
        members: The networks; more than one give a second band, their standard deviation.
        files: The two files.
        tiling: Windows and their weights.
        batch_size: Windows per call of a network.
        threshold: Probability from which a pixel is glacier.
        tags: Facts to store in the files. Finished strips of an interrupted prediction are used again when
            all of them are the same.
        dtype: Of the probability.
        calibration: Store calibrated probabilities.
        progress: Called with the share done.

    Returns:
        The files.
    """
    tops = tiling.core_starts(scene.grid.height)
    folder = strips_folder(len(members), files, tiling, tags)
    try:
        missing = folder.missing(len(tops))
        _finish(folder, missing, scene, members, tiling, batch_size=batch_size, progress=progress)
        write_files(
            (folder.read(number) for number in range(len(tops))),
            scene.grid,
            files,
            layers=min(len(members), 2),
            threshold=threshold,
            dtype=dtype,
            calibration=calibration,
            tags=tags,
        )
    finally:
        folder.remove_if_empty()
    folder.remove()
    return files


def _finish(
    folder: StripsFolder,
    missing: Sequence[int],
    scene: Scene,
    members: Sequence[Predictor],
    tiling: Tiling,
    *,
    batch_size: int,
    progress: Progress | None = None,
) -> None:
    total = len(tiling.core_starts(scene.grid.height))
    done = total - len(missing)
    for first, last in runs_of(missing):
        count = last - first + 1
        part = _part_of(progress, done / total, count / total)
        strips = blended_strips(
            scene, members, tiling, batch_size=batch_size, first=first, last=last, progress=part
        )
        with bounded_cache(scene), closing(strips):
            for number, _, layers in strips:
                folder.write(number, _summary(layers))
        done += count


def _summary(layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean and, of several layers, standard deviation: `(L, rows, W)` to `(1 or 2, rows, W)`."""
    if len(layers) == 1:
        return layers
    return np.stack([layers.mean(0), layers.std(0)])


def _part_of(progress: Progress | None, start: float, share: float) -> Progress | None:
    return None if progress is None else lambda done: progress(start + share * done)


def _told(fitted: Fitted) -> Scene:
    for line in fitted.warnings:
        warnings.warn(line, GlaciersegWarning, stacklevel=3)
    return fitted.scene


def _ensemble_of(
    model: "Path | str | Sequence[Path | str] | nn.Module | Ensemble | Weights", card: ModelCard | None
) -> Ensemble:
    if isinstance(model, Ensemble):
        return model
    if isinstance(model, Weights):
        return load_ensemble(model.folders)
    if isinstance(model, Path | str):
        return load_ensemble([model])
    if isinstance(model, Sequence):
        return load_ensemble(model)
    return Ensemble((model,), (card,))
