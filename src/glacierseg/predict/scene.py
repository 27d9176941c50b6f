"""Predicting whole scenes to georeferenced files."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glacierseg._version import __version__
from glacierseg.errors import RequestError
from glacierseg.predict.calibration import LogitScale
from glacierseg.predict.engines import Engine, Precision
from glacierseg.predict.files import NETWORKS_TAG, ProbabilityType, ScenePrediction, write_files
from glacierseg.predict.halo import HALO_WINDOW_PX, check_halo
from glacierseg.predict.members import Ensemble, layer_facts, load_ensemble
from glacierseg.predict.stream import Predictor, blended_strips, bounded_cache
from glacierseg.predict.strips_folder import StripsFolder, runs_of
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.tiling import Tiling
from glacierseg.training.checkpoint import ModelCard
from glacierseg.weights.shelf import Weights

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[float], None]


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
        progress: Called with the share done.

    Returns:
        Paths of the two files.

    Raises:
        BandError: The scene lacks bands that the network needs.
        ValuesError: The scene's values are in another unit or range than the `Weights` know.
        RasterError: The scene cannot be read.
        RequestError: Window, overlap, batch size or threshold make no sense, or the engine cannot be used.
        OutputError: The folder cannot be written to.
    """
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    if isinstance(model, Weights):
        fitted = model.fit(scene)
        for line in fitted.warnings:
            warnings.warn(line, stacklevel=2)
        scene, threshold = fitted.scene, model.card.threshold if threshold is None else threshold
        window_px = model.window_px if window_px is None and not halo_px else window_px
        symmetries = model.card.symmetries if symmetries is None else symmetries
        tags = {**model.tags, **(tags or {})}
    threshold = 0.5 if threshold is None else threshold
    job = _plan(
        _ensemble_of(model, card),
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


def begin_strips(ensemble: Ensemble, scene: Scene, out_dir: Path, **settings: Any) -> int:
    """Makes the folder of a scene's strips, for several processes to write to, and returns their number.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results will go.
        settings: As in `predict_scene`.
    """
    job = _plan(ensemble, scene, out_dir, **settings)
    job.folder()
    return len(job.tops)


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
        settings: As in `predict_scene`; what only concerns the finished files has no effect.
    """
    job = _plan(ensemble, scene, out_dir, **settings)
    folder = job.folder()
    missing = [number for number in folder.missing(len(job.tops)) if first <= number <= last]
    at_once = job.windows_at_once(settings.get("batch_size", 16))
    _finish(folder, missing, job.scene, job.members, job.tiling, batch_size=at_once)


@dataclass(frozen=True)
class _Job:
    scene: Scene
    members: Sequence[Predictor]
    files: ScenePrediction
    tiling: Tiling
    facts: Mapping[str, str]
    patch_px: int

    def windows_at_once(self, batch_size: int) -> int:
        """Returns how many windows have as many pixels as a batch of training patches."""
        return max(1, min(batch_size, batch_size * self.patch_px**2 // self.tiling.window_px**2))

    @property
    def tops(self) -> tuple[int, ...]:
        return self.tiling.core_starts(self.scene.grid.height)

    def folder(self) -> StripsFolder:
        return _strips_folder(self.scene, len(self.members), self.files, self.tiling, self.facts)


def _plan(
    ensemble: Ensemble,
    scene: Scene,
    out_dir: Path,
    *,
    window_px: int | None = None,
    overlap: float = 0.5,
    halo_px: int = 0,
    batch_size: int = 16,
    threshold: float = 0.5,
    symmetries: bool = False,
    engine: Engine = "auto",
    precision: Precision = "auto",
    int8_model: Path | None = None,
    dtype: ProbabilityType = "float32",  # noqa: ARG001  (concerns the finished files)
    calibration: LogitScale | None = None,  # noqa: ARG001
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> _Job:
    from glacierseg.predict.export import fingerprint  # noqa: PLC0415  (brings torch)

    _check_request(window_px, overlap, batch_size, threshold)
    scene = ensemble.matching_scene(scene)
    window_px = window_px or (HALO_WINDOW_PX if halo_px else ensemble.window_px)
    if halo_px:
        check_halo(ensemble, window_px, halo_px)
    members = ensemble.predictors(
        scene,
        window_px=window_px,
        engine=engine,
        precision=precision,
        int8_model=int8_model,
        symmetries=symmetries,
    )
    facts = {
        "software": f"glacierseg {__version__}",
        "model": ensemble.name,
        NETWORKS_TAG: ",".join(
            fingerprint(network, own.scaling) if own else type(network).__name__
            for network, own in zip(ensemble.networks, ensemble.cards, strict=True)
        ),
        "bands": ",".join(scene.band_names),
        "window_px": str(window_px),
        **({"halo_px": str(halo_px)} if halo_px else {"overlap": f"{overlap:g}"}),
        "threshold": f"{threshold:g}",
        "engine": ensemble.computed_by(engine, precision),
        **layer_facts(len(members), len(ensemble.networks), symmetries=symmetries),
        **(tags or {}),
    }
    stem = name or scene.name
    files = ScenePrediction(out_dir / f"{stem}_probability.tif", out_dir / f"{stem}_mask.tif")
    tiling = Tiling(window_px, 0.0 if halo_px else overlap, halo_px)
    return _Job(scene, members, files, tiling, facts, ensemble.largest_patch_px)


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
    folder = _strips_folder(scene, len(members), files, tiling, tags)
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


def _strips_folder(
    scene: Scene, layers: int, files: ScenePrediction, tiling: Tiling, facts: Mapping[str, str]
) -> StripsFolder:
    # The threshold is applied when all is done.
    known = {key: value for key, value in facts.items() if key != "threshold"}
    key = {**known, "tiling": asdict(tiling), "layers": layers, "source": _source(scene)}
    return StripsFolder(files.probability.with_name(f".{files.probability.stem}.strips"), key)


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


def _source(scene: Scene) -> list[object]:
    """Changes when a file of the scene does."""
    stats = [(path, path.stat()) for path in scene.paths]
    return [
        [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats],
        [
            [band.path.name, band.index, band.nodata and float(band.nodata), band.scale, band.offset]
            for band in scene.bands
        ],
    ]


def _part_of(progress: Progress | None, start: float, share: float) -> Progress | None:
    return None if progress is None else lambda done: progress(start + share * done)


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


def _check_request(window_px: int | None, overlap: float, batch_size: int, threshold: float) -> None:
    if window_px is not None and window_px < 1:
        raise RequestError(f"a window of {window_px} px makes no sense; give 1 or more")
    if not 0 <= overlap < 1:
        raise RequestError(f"an overlap of {overlap:g} makes no sense; give 0 or more and less than 1")
    if batch_size < 1:
        raise RequestError(f"a batch of {batch_size} windows makes no sense; give 1 or more")
    if not 0 < threshold < 1:
        raise RequestError(f"a threshold of {threshold:g} makes no sense; give a probability between 0 and 1")
