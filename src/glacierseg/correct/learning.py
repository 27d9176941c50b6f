"""Training a model again on the corrections kept so far, with proof that it became better.

Of the checked places a third is held out; the network sees none of their pixels. It is trained from the
weights that the corrections started from, with the ground of its own training replayed. What is kept is the
network that was judged: it is not trained once more on the places that judged it.
"""

import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glacierseg._version import __version__
from glacierseg.correct.doubts import find_doubts
from glacierseg.correct.ground import checked_ground, old_ground, place_parts
from glacierseg.correct.retraining import between, retrain
from glacierseg.correct.store import Correction, Store
from glacierseg.correct.verdict import Verdict, compare
from glacierseg.errors import RequestError, TruthError
from glacierseg.experiment.calibration import measure_calibration
from glacierseg.experiment.windows import Part, parts_of
from glacierseg.models.card import ModelCard, fingerprint, load_model, read_card, save_model
from glacierseg.predict.calibration import Calibration, calibration_of
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.samples import predicted
from glacierseg.raster.outputs import writes
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import digest_of, read_json, write_json, write_raster
from glacierseg.runs.layout import RunFolder
from glacierseg.runs.write import locked
from glacierseg.settings import PredictSettings
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.correct import CorrectSettings
from glacierseg.settings.predict import THRESHOLD
from glacierseg.weights.shelf import find_weights, model_folder, weights_name

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)

_WAYS = (1.0, 0.6, 0.3)
"""Shares of the way from the weights before to the trained ones; a shorter one where the whole forgets."""


@fields_as_keywords(settings=CorrectSettings)
@writes(out=None)
def learn(
    model: Path | str,
    store: Store,
    out: Path,
    settings: CorrectSettings | None = None,
    *,
    replay: Path | None = None,
) -> Verdict:
    """Trains a network again on all corrections kept so far, and keeps it if it became better.

    An interrupted training goes on when the same is asked again, and what is judged is not trained again.

    Args:
        model: The network that the corrections start from: a model folder, `weights:NAME` or one member of
            several, `weights:NAME/2`.
        store: The corrections.
        out: Gets `verdict.json`, and `model/` when the new network is accepted; else that stays as it was.
        settings: How it is trained and judged.
        replay: The run, or its configuration, whose ground the network was trained on; None for the run that
            the model folder lies in.

    Returns:
        Whether the network was accepted, and why; its `sentence` is for people.

    Raises:
        GlaciersegError: A file cannot be read, or the model is not one network that was never corrected.
        KeyboardInterrupt: The user interrupted.
    """
    settings, out = settings or CorrectSettings(), Path(out)
    base = _one_network(model)
    with locked(RunFolder(out)):
        kept, aside = out / "model", out / ".model.before"
        if aside.exists():
            # Stopped while one took the place of the other.
            shutil.rmtree(aside) if kept.exists() else aside.rename(kept)
        key = _key(base, store.corrections, settings, replay)
        told, work = out / "verdict.json", out / ".training"
        if (
            told.exists()
            and (known := Verdict.from_dict(read_json(told))).key == key
            and (kept.exists() or not known.accepted)
        ):
            _log.info("judged already")
            return known
        if not (work / key).exists():
            shutil.rmtree(work, ignore_errors=True)
        judged = train_and_judge(base, store.corrections, settings, replay, work / key)
        verdict = replace(judged.verdict, key=key)
        if verdict.accepted:
            facts: dict[str, Any] = {
                "model": str(base if Path(model).exists() else model),
                "corrections": [one.name for one in store.corrections],
            }
            facts |= {"replayed": str(replay) if replay else None, **verdict.to_dict()}
            made = work / "model"
            save_model(made, judged.network, _card(read_card(base), facts, judged.calibration))
            if kept.exists():
                kept.rename(aside)
            made.rename(kept)
            shutil.rmtree(aside, ignore_errors=True)
        write_json(told, verdict.to_dict())
        shutil.rmtree(work, ignore_errors=True)
    _log.info(verdict.sentence)
    if verdict.doubts and verdict.doubts.reason:
        _log.info(f"later trainings take all corrections; to forget one, delete it in {out / 'corrections'}")
    return verdict


def _one_network(model: Path | str) -> Path:
    if (name := weights_name(model)) and (count := len(find_weights(name).folders)) > 1:
        raise RequestError(
            f"weights:{name}: are {count} networks that predict together, and one is corrected at a time; "
            f"give one of them, weights:{name}/1 to weights:{name}/{count}"
        )
    folder = model_folder(model)
    if earlier := read_card(folder).training.get("corrected"):
        _log.info(f"{folder} has learned from corrections: training starts from {earlier['model']} again")
        return _one_network(earlier["model"])
    return folder.resolve()


def _key(
    base: Path, corrections: Sequence[Correction], settings: CorrectSettings, replay: Path | None
) -> str:
    network, card = load_model(base)
    known: list[Any] = [__version__, fingerprint(network, card.scaling), settings.model_dump(mode="json")]
    known += [str(replay), *([one.name, digest_of(one.truth)] for one in corrections)]
    return sha256(json.dumps(known).encode()).hexdigest()[:16]


def _card(card: ModelCard, facts: dict[str, Any], calibration: Calibration | None) -> ModelCard:
    """The calibration before is of other probabilities; windows stay, as the network was judged in them."""
    made = {
        "training": {**card.training, "corrected": facts},
        "calibration": calibration and calibration.to_dict(),
        "version": __version__,
    }
    return card.model_copy(update=made)


@dataclass(frozen=True)
class Judged:
    """A network that was trained on corrections.

    Attributes:
        verdict: Whether it became better.
        network: The network; the one before where nothing was trained.
        calibration: Measured on old ground; None without it.
    """

    verdict: Verdict
    network: "nn.Module"
    calibration: Calibration | None = None


def train_and_judge(
    base: Path,
    corrections: Sequence[Correction],
    settings: CorrectSettings,
    replay: Path | None,
    work: Path,
) -> Judged:
    """Trains a network on corrections and judges it.

    Args:
        base: Its model folder.
        corrections: Those that were kept.
        settings: How it is trained and judged.
        replay: As for `learn`.
        work: Where states of the training go.
    """
    ensemble = load_ensemble(base)
    network, card = ensemble.networks[0], read_card(base)
    regions, places = checked_ground(corrections, ensemble, settings.holdout_share)
    found = Verdict.of(places)
    if (few := found.too_few) is not None:
        return Judged(found.refused(few), network)
    parts = place_parts(places, regions)
    before = _probabilities(ensemble, parts)
    found = replace(found, doubts=find_doubts(before, parts, calibration_of(card, base)))
    if found.doubts and (reason := found.doubts.reason):
        return Judged(found.refused(reason), network)
    old = old_ground(base, replay, card, work)
    _log.info(
        f"{len(places)} places of {found.checked_km2:.2f} km2 in all are checked: {found.judging} judge, the "
        "others train; "
        + ("old ground is replayed" if old else "no old ground is known, so none is replayed")
    )
    old_parts = parts_of(old.regions, card, old.validation) if old else []
    old_before = _masks(_probabilities(ensemble, old_parts))
    chances: list[NDArray[np.float32]] = []
    trained = retrain(ensemble, base, regions, places, old, settings, work)
    for way in _WAYS:
        new = Ensemble((between(network, trained, way),), (card,))
        if not old_parts:
            break
        chances = _probabilities(new, old_parts)
        old_masks = old_before, _masks(chances)
        found = replace(found, way=way, old=compare(*old_masks, old_parts, settings))
        if not found.forgets:
            break
    held = [number for number, place in enumerate(places) if place.judges]
    truths = [parts[number] for number in held]
    masks = _masks([before[number] for number in held]), _masks(_probabilities(new, truths))
    found = replace(found, gain=compare(*masks, truths, settings))
    verdict = found.judged(*masks, truths)
    calibration = _calibrated(chances, old_parts, work) if verdict.accepted else None
    return Judged(verdict, new.networks[0], calibration)


def _calibrated(
    chances: Sequence[NDArray[np.float32]], parts: Sequence[Part], work: Path
) -> Calibration | None:
    rasters = {}
    for number, (chance, part) in enumerate(zip(chances, parts, strict=True)):
        path = work / "old" / f"{number}.tif"
        write_raster(path, chance, part.scene.grid, bands=["probability"], nodata=math.nan, cog=False)
        rasters[f"{part.scene.name}_{number}"] = path, part.truth
    try:
        return measure_calibration(rasters) if rasters else None
    except TruthError as error:
        _log.info(f"not calibrated: {error}")
        return None


def _probabilities(ensemble: Ensemble, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
    settings = ensemble.resolved(PredictSettings())
    return list(predicted(ensemble, [part.scene for part in parts], settings))


def _masks(probabilities: Sequence[NDArray[np.float32]]) -> list[NDArray[np.uint8]]:
    return [
        np.where(np.isnan(chance), np.uint8(IGNORE), (chance >= THRESHOLD).astype(np.uint8))
        for chance in probabilities
    ]
