"""Predicting whole scenes to georeferenced files."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glacierseg._version import __version__
from glacierseg.errors import GlaciersegWarning, RasterError
from glacierseg.log import Progress
from glacierseg.models.card import ModelCard, fingerprint
from glacierseg.predict.calibration import LogitScale
from glacierseg.predict.engines import int8_fingerprint
from glacierseg.predict.ensemble import Ensemble, layer_facts, load_ensemble
from glacierseg.predict.files import (
    INT8_TAG,
    NETWORKS_TAG,
    PLACE_TAG,
    SOURCE_TAG,
    ScenePrediction,
    are_made_so,
    content_of,
    place_of,
    refuse_maps_of_others,
    write_files,
)
from glacierseg.predict.stream import Predictor, StripsFolder, blended_strips, bounded_cache, runs_of
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.outputs import require_output, writes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.tiling import Tiling
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.predict import PredictSettings
from glacierseg.weights.fitting import Fitted
from glacierseg.weights.shelf import Weights

if TYPE_CHECKING:
    from torch import nn

# These have tags of their own below, or change no pixel of a map.
_WITHOUT_PLAIN_TAG = {
    "regions", "window_px", "overlap", "batch_size", "threshold", "symmetries", "engine",
    "precision", "int8_model", "dtype", "calibrated", "confidence", "prune_level",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One scene to predict.

    Attributes:
        scene: Its bands in the order of the networks.
        members: The networks, each with its scaling; more than one give a second band, their standard
            deviation.
        files: What comes out.
        tiling: Windows and their weights.
        settings: How it is predicted.
        windows_at_once: Windows per call of a network.
        facts: All that the result depends on, for the tags of the files. Finished strips of an interrupted
            prediction are used again when all of them are the same.
    """

    scene: Scene
    members: Sequence[Predictor]
    files: ScenePrediction
    tiling: Tiling
    settings: PredictSettings = field(default_factory=PredictSettings)
    windows_at_once: int = 1
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def tops(self) -> tuple[int, ...]:
        """First row of every strip."""
        return self.tiling.starts(self.scene.grid.height)

    def folder(self) -> StripsFolder:
        """Opens the folder of its strips; those that depend on anything else are removed.

        Raises:
            OutputError: It cannot be made.
        """
        # The threshold is applied when all is done.
        known = {key: value for key, value in self.facts.items() if key not in {"threshold", PLACE_TAG}}
        key = {**known, "tiling": asdict(self.tiling), "layers": len(self.members)}
        path = self.files.probability
        return StripsFolder(path.with_name(f".{path.stem}.strips"), key)


def plan(
    ensemble: Ensemble,
    scene: Scene,
    out_dir: Path,
    settings: PredictSettings,
    *,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Job:
    """Plans the prediction of a scene.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results go.
        settings: How it is predicted.
        tags: More facts to store in the files.
        source: The word for the scene where it is known, so that not every process has to read it all.

    Raises:
        BandError: The scene lacks bands.
        RasterError: A band holds complex numbers.
        RequestError: The engine cannot be used.
    """
    scene, settings = ensemble.matching_scene(scene), ensemble.resolved(settings)
    tiling = ensemble.tiling(settings)
    if imaginary := [band for band in scene.bands if np.dtype(band.dtype).kind == "c"]:
        raise RasterError(
            f"{imaginary[0].path}: band {imaginary[0].name} holds complex numbers; give its amplitude"
        )
    members = ensemble.predictors(scene, settings)
    int8_model = settings.int8_model if settings.precision == "int8" else None
    missing = ",".join(band.name for band in scene.bands if band.is_constant)
    facts = {
        "software": f"glacierseg {__version__}",
        "model": ensemble.name,
        NETWORKS_TAG: ",".join(
            fingerprint(network, own.scaling if own else None)
            for network, own in zip(ensemble.networks, ensemble.cards, strict=True)
        ),
        "bands": ",".join(scene.band_names),
        **({"missing_bands": missing} if missing else {}),
        "window_px": str(tiling.window_px),
        "overlap": f"{settings.overlap:g}",
        "threshold": f"{settings.threshold:g}",
        "engine": ensemble.computed_by(settings),
        SOURCE_TAG: source or content_of(scene),
        PLACE_TAG: place_of(scene),
        **({INT8_TAG: int8_fingerprint(int8_model)} if int8_model else {}),
        # An option that is new is a fact without being listed, or maps made without it would be kept.
        **{
            name: str(value)
            for name, value in settings.model_dump(exclude=_WITHOUT_PLAIN_TAG, exclude_defaults=True).items()
        },
        **layer_facts(len(members), len(ensemble.networks), symmetries=bool(settings.symmetries)),
        **ensemble.tags,
        **facts_of_bands(scene.bands).tags,
        **(tags or {}),
    }
    return Job(
        scene,
        members,
        ScenePrediction.of(out_dir, scene.name),
        tiling,
        settings,
        ensemble.windows_at_once(settings),
        facts,
    )


@fields_as_keywords(settings=PredictSettings)
@writes(out_dir=None)
def predict_scene(
    model: "Path | str | Sequence[Path | str] | nn.Module | Ensemble | Weights",
    scene: Scene | Path | str | Sequence[Path | str],
    out_dir: Path | str,
    settings: PredictSettings | None = None,
    *,
    card: ModelCard | None = None,
    tags: Mapping[str, str] | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> ScenePrediction:
    """Predicts glacier probability and mask for every pixel of a scene.

    Finished strips are kept in a hidden folder beside the results until those are whole: the same call goes
    on after an interruption, and the result is that of an uninterrupted one.

    Args:
        model: A model folder; several, whose mean is predicted and whose spread becomes a second band;
            `Weights` (`glacierseg.find_weights`); an `Ensemble`; or a network together with its `card`.
            Folders and weights look at the scene first and warn of what is unlike their training. A network
            without a card gets the scene's bands as they are, unscaled.
        scene: A scene, or its file or files; a virtual mosaic (VRT) is a file like any other.
        out_dir: Folder for `<name>_probability.tif` and `<name>_mask.tif`, by the scene's name.
        settings: How it is predicted (docs/settings.md); its fields may be given as keywords instead, such
            as `overlap=0.75`.
        card: Bands, scaling and patch size of a network that is given as a module.
        tags: More facts to store in the files.
        again: Replace also maps of another scene of the same name.
        progress: Called with the share done.

    Returns:
        Paths of the two files.

    Raises:
        BandError: The scene lacks bands that the network needs.
        ValuesError: The scene's values are in another unit or range than the card of the `Weights` or of a
            model folder tells.
        RasterError: The scene cannot be read.
        RequestError: A setting is out of its bounds, the engine cannot be used, there is no calibration, or
            maps of another scene of the same name lie there.
        OutputError: The folder cannot be written to.
    """
    settings = settings or PredictSettings()
    scene = scene if isinstance(scene, Scene) else open_scene(scene)
    if isinstance(model, Path | str | Sequence | Weights):
        ensemble = load_ensemble(model, prune_level=settings.prune_level)
        scene = _told(ensemble.fit(scene))
    elif isinstance(model, Ensemble):
        ensemble = model
    else:
        ensemble = Ensemble((model,), (card,))
        scene = ensemble.matching_scene(scene)
        scene = _told(Fitted(scene, ensemble.told_of_missing(scene)))
    job = plan(ensemble, scene, Path(out_dir), settings, tags=tags)
    calibration = _calibration(ensemble, job.settings)
    for path in (job.files.probability, job.files.mask):
        require_output(path)
    if not again:
        refuse_maps_of_others(job.files, job.facts, job.scene)
    return write_prediction(job, calibration, progress)


def finished_files(
    ensemble: Ensemble,
    scene: Scene,
    out_dir: Path,
    settings: PredictSettings,
    *,
    tags: Mapping[str, str] | None = None,
) -> ScenePrediction | None:
    """Returns the files of a scene if they exist and were made from it with these settings.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results go.
        settings: How it is predicted.
        tags: As in `predict_scene`.

    Raises:
        RequestError: They were made from another scene of the same name.
    """
    files = ScenePrediction.of(out_dir, scene.name)
    if not (files.probability.is_file() or files.mask.is_file()):
        return None
    job = plan(ensemble, scene, out_dir, settings, tags=tags)
    refuse_maps_of_others(files, job.facts, scene)
    made_so = are_made_so(files, job.facts, settings.dtype, _calibration(ensemble, job.settings))
    return files if made_so else None


def _calibration(ensemble: Ensemble, settings: PredictSettings) -> LogitScale | None:
    return ensemble.calibration(settings).scale if settings.calibrated else None


def begin_strips(
    ensemble: Ensemble, scene: Scene, out_dir: Path, settings: PredictSettings
) -> tuple[StripsFolder, int, str]:
    """Makes the folder of a scene's strips, for several processes to write to, and counts the strips.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results will go.
        settings: How it is predicted.

    Returns:
        The folder, the number of strips, and the word for the scene that `predict_strips` takes as `source`.
    """
    job = plan(ensemble, scene, out_dir, settings)
    return job.folder(), len(job.tops), job.facts[SOURCE_TAG]


def predict_strips(
    ensemble: Ensemble,
    scene: Scene,
    out_dir: Path,
    settings: PredictSettings,
    numbers: range,
    *,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
) -> None:
    """Predicts those of some strips that are missing, and leaves the rest to `predict_scene`.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results will go.
        settings: How it is predicted.
        numbers: Of the strips.
        tags: As in `predict_scene`.
        source: The word for the scene, from `begin_strips`.
    """
    job = plan(ensemble, scene, out_dir, settings, tags=tags, source=source)
    folder = job.folder()
    _finish(job, folder, [number for number in folder.missing(len(job.tops)) if number in numbers])


def write_prediction(
    job: Job, calibration: LogitScale | None = None, progress: Progress | None = None
) -> ScenePrediction:
    """Streams the prediction of a scene into two cloud-optimised GeoTIFFs.

    Args:
        job: From `plan`.
        calibration: Store calibrated probabilities. The mask stays that of the network's own ones.
        progress: Called with the share done.

    Returns:
        The files.
    """
    folder, total = job.folder(), len(job.tops)
    try:
        _finish(job, folder, folder.missing(total), progress)
        write_files(
            (folder.read(number) for number in range(total)),
            job.scene.grid,
            job.files,
            job.settings,
            layers=min(len(job.members), 2),
            tags=job.facts,
            calibration=calibration,
        )
    finally:
        folder.remove_if_empty()
    folder.remove()
    return job.files


def _finish(job: Job, folder: StripsFolder, missing: Sequence[int], progress: Progress | None = None) -> None:
    total = len(job.tops)
    done = total - len(missing)
    for first, last in runs_of(missing):
        count = last - first + 1
        strips = blended_strips(
            job.scene,
            job.members,
            job.tiling,
            batch_size=job.windows_at_once,
            first=first,
            last=last,
            progress=_part_of(progress, done / total, count / total),
        )
        with bounded_cache(job.scene), closing(strips):
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
        warnings.warn(line, GlaciersegWarning, stacklevel=5)  # whoever called predict_scene
    return fitted.scene
