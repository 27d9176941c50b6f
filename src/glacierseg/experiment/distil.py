"""The stage that teaches one network what several predict together, in all symmetries."""

import logging
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glacierseg import log
from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.errors import BandError, GridMismatchError, RequestError
from glacierseg.experiment.predict import predict_with, unpredicted
from glacierseg.experiment.teachers import outside_teachers, teacher_names
from glacierseg.models.card import fingerprint, read_card, update_card
from glacierseg.models.registry import count_parameters
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.files import ScenePrediction, write_files
from glacierseg.raster.bounds import area_on_grid, may_meet
from glacierseg.raster.probability import LEVELS, levels_of, probability_strips
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import read_json, write_json
from glacierseg.runs.layout import ALL_BANDS, TEACHER, ModelFolder, RunFolder
from glacierseg.runs.results import read_rows
from glacierseg.runs.write import write_table
from glacierseg.settings import PredictSettings, RunConfig
from glacierseg.settings.distil import is_network
from glacierseg.settings.scene import InputSettings
from glacierseg.training.states import remove_states
from glacierseg.weights.shelf import model_folder

_log = logging.getLogger(__name__)

DISTIL_COLUMNS = ("model", "role", "networks", "iou", "mcc", "ece", "seconds_per_megapixel", "megabytes")
"""Of `distil.csv`: the mean of the teachers, and the student."""
_STRIP_PX = 1024
_UNLIKE = 0.1
"""Pixels of a scene without truth may be larger or smaller by this share than those of the regions."""


def check_distil(config: RunConfig, regions: Sequence[Region], folder: RunFolder) -> None:
    """Checks, before anything is trained, that teachers, scenes and the student can be used.

    Raises:
        BandError: The regions or the scenes without truth lack bands.
        GlaciersegError: As `more_ground`, or what the student starts from is no model folder.
    """
    if (student := config.distil.student) is None:
        return
    if outside := outside_teachers(config.distil):
        load_ensemble(outside).matching_scene(regions[0].scene)
    more_ground(config, regions)
    # What the run itself trains is not there yet.
    start = student.start_from and model_folder(student.start_from)
    if start and folder.path.resolve() not in start.resolve().parents:
        read_card(start)


def predict_teachers(
    ensemble: Ensemble, config: RunConfig, regions: Sequence[Region], folder: RunFolder
) -> PredictSettings:
    """Predicts the mean of the teachers for every region that has no map of it yet.

    What teachers predicted that were trained again since is removed, and so is the student that learned it.

    Args:
        ensemble: The teachers.
        config: The run.
        regions: The regions, and scenes without truth.
        folder: The run's folder.

    Returns:
        How they were predicted.
    """
    settings, own = _teachers_settings(ensemble, config), folder.model(TEACHER, ALL_BANDS)
    networks = zip(ensemble.networks, ensemble.cards, strict=True)
    facts = {
        "teachers": list(teacher_names(config)),
        "networks": [fingerprint(network, card.scaling) for network, card in networks if card],
        "prediction": settings.model_dump(mode="json"),
    }
    if not own.teachers.exists() or read_json(own.teachers) != facts:
        assert config.distil.student is not None  # noqa: S101  (who calls this has one)
        student = folder.student(config.distil.student.name)
        student.weights.unlink(missing_ok=True)
        remove_states(student.path)
        shutil.rmtree(own.path, ignore_errors=True)
        write_json(own.teachers, facts)
    missing = unpredicted(regions, own)
    if any(not is_network(name) for name in teacher_names(config)):
        missing = _fitted(ensemble, missing)
    if len(ensemble.networks) == 1 and not settings.symmetries:
        _log.info("one teacher without symmetries: only a smaller student is faster")
    _predict(ensemble, missing, own, settings, {"run": config.name})
    return settings


def _predict(
    ensemble: Ensemble,
    regions: Sequence[Region],
    own: ModelFolder,
    settings: PredictSettings,
    tags: Mapping[str, str],
) -> None:
    """Predicts the mean of networks, each in windows of the size that it was trained on."""
    groups = _by_window(ensemble, settings)
    if len(groups) == 1:
        predict_with(ensemble, regions, own, settings, tags)
        return
    # One size for all would be far from the patches of some: the defaults go from 64 to 384 px.
    parts = {window_px: ModelFolder(own.path / f"window_{window_px}") for window_px in groups}
    for window_px, members in groups.items():
        predict_with(members, regions, parts[window_px], settings.replaced(window_px=window_px), tags)
    weights = [len(members.networks) / len(ensemble.networks) for members in groups.values()]
    for region in regions:
        strips = zip(
            *(probability_strips(part.probability(region.name), _STRIP_PX) for part in parts.values()),
            strict=True,
        )
        means = (
            np.average([part for _, part in strip], axis=0, weights=weights).astype(np.float32)[None]
            for strip in strips
        )
        files = ScenePrediction.of(own.path, region.name)
        write_files(means, region.scene.grid, files, settings, layers=1, tags=tags)
    if spent := [read_json(part.timings) for part in parts.values() if part.timings.exists()]:
        seconds = sum(one["prediction_s"] for one in spent)
        write_json(own.timings, {**spent[0], "prediction_s": seconds})
    for part in parts.values():
        shutil.rmtree(part.path, ignore_errors=True)


def _by_window(ensemble: Ensemble, settings: PredictSettings) -> dict[int, Ensemble]:
    """Returns networks by the side of the windows in which they look."""
    sides = [settings.window_px or (card.patch_px if card else 256) for card in ensemble.cards]
    groups = {}
    for side in sorted(set(sides)):
        places = [place for place, own in enumerate(sides) if own == side]
        groups[side] = Ensemble(
            tuple(ensemble.networks[place] for place in places),
            tuple(ensemble.cards[place] for place in places),
        )
    return groups


def taught(config: RunConfig, regions: Sequence[Region], folder: RunFolder) -> tuple[Region, ...]:
    """Gives regions the soft labels that their teachers predicted.

    On training ground without truth the teachers' decision stands in for it, so that patches lie there too;
    not under the random split, where such ground would validate.

    Args:
        config: The run.
        regions: The regions, and scenes without truth.
        folder: The run's folder; it holds what teachers predicted.
    """
    own, weight = folder.model(TEACHER, ALL_BANDS), np.float32(config.distil.truth_weight)
    found = []
    for region in regions:
        train = region.roles == ROLE_CODES["train"]
        if not train.any():
            found.append(region)
            continue
        soft, truth = np.full(region.truth.shape, IGNORE, np.uint8), region.truth
        for rows, probability in probability_strips(own.probability(region.name), _STRIP_PX):
            known = truth[rows] != IGNORE
            mixed = weight * (truth[rows] == 1) + (1 - weight) * probability
            soft[rows] = levels_of(np.where(known, mixed, probability))
        if config.split.method != "random":
            unknown = train & (truth == IGNORE) & (soft != IGNORE)
            truth = np.where(unknown, (soft >= LEVELS // 2).astype(np.uint8), truth)
        found.append(replace(region, truth=truth, soft=soft))
    return tuple(found)


def more_ground(config: RunConfig, regions: Sequence[Region]) -> list[Region]:
    """Opens the scenes without truth, as regions that only train.

    Raises:
        BandError: One lacks bands of the regions.
        RequestError: One shares ground that validates or tests, or has the name of a region.
        GridMismatchError: Its pixels are of another size.
        RasterError: One cannot be read.
    """
    found: list[Region] = []
    first, section = regions[0].scene, config.regions[0]
    for path in config.distil.scenes:
        scene = open_scene(path, bands=section.bands, nodata=section.nodata)
        if lacking := [band for band in first.band_names if band not in scene.band_names]:
            raise BandError(
                f"{path}: lacks {', '.join(lacking)} of the bands of the regions; it has "
                f"{', '.join(scene.band_names)}"
            )
        name = scene.name
        if name in {region.name for region in (*regions, *found)}:
            raise RequestError(f"{path}: there is another region or scene called {name}; rename the file")
        own_m, usual_m = (float(np.sqrt(np.prod(one.grid.pixel_size_m))) for one in (scene, first))
        if abs(own_m / usual_m - 1) > _UNLIKE:
            raise GridMismatchError(
                f"{path}: has pixels of {own_m:g} m and the regions have {usual_m:g} m; bring it to their "
                "size with `glacierseg prepare align`"
            )
        for region in regions:
            held = np.isin(region.roles, (ROLE_CODES["validate"], ROLE_CODES["test"]))
            if (
                held.any()
                and may_meet(region.scene.grid, scene.grid)
                and (area_on_grid(held, region.scene.grid, scene.grid).any())
            ):
                raise RequestError(
                    f"{path}: shares ground that validates or tests in region {region.name}; a student that "
                    "sees it would be scored on known ground: cut the scene, or leave it out"
                )
        shape = scene.grid.shape
        roles = np.full(shape, ROLE_CODES["train"], np.uint8)
        found.append(Region(name, scene.select(first.band_names), np.full(shape, IGNORE, np.uint8), roles))
    return found


def compare_with_teachers(
    ensemble: Ensemble, rows: Mapping[str, Sequence[Mapping[str, Any]]], folder: RunFolder
) -> None:
    """Writes and says how the student compares with its teachers: scores, time and size.

    Args:
        ensemble: The teachers.
        rows: By model, its rows of the table `pooled`.
        folder: The run's folder.
    """
    roles = {row["role"] for own in rows.values() for row in own}
    role = next(role for role in ("test", "validate", "train") if role in roles)
    table = []
    for (model, own), networks in zip(rows.items(), (ensemble.networks, None), strict=True):
        place = folder.model(model, ALL_BANDS)
        scores = next(row for row in own if (row["role"], row["stage"]) == (role, "raw"))
        spent = read_json(place.timings) if place.timings.exists() else {}
        # Networks are timed only where they predicted; what lay there already took no time.
        known = spent.get("predicted_px")
        table.append(
            {
                "model": model,
                "role": role,
                "networks": len(networks) if networks else 1,
                "iou": scores["iou"],
                "mcc": scores["mcc"],
                "ece": _pooled_ece(place, role),
                "seconds_per_megapixel": spent["prediction_s"] / known * 1e6 if known else None,
                "megabytes": sum(
                    _size_mb(path) for path in (ensemble.folders if networks else (place.path,))
                ),
            }
        )
    write_table(folder.table("distil"), DISTIL_COLUMNS, table)
    lines = [[str(row["model"]), *(_short(row[key]) for key in DISTIL_COLUMNS[2:])] for row in table]
    _log.info(log.table(f"Teachers and student on {role} pixels", ("model", *DISTIL_COLUMNS[2:]), lines))


def _pooled_ece(folder: ModelFolder, role: str) -> float | None:
    """Expected calibration error over all regions of a role, from their reliability diagrams."""
    gaps: dict[str, float] = defaultdict(float)
    pixels = 0
    for row in read_rows(folder.reliability):
        if (row["role"], row["kind"]) == (role, "raw"):
            gaps[row["lower"]] += int(row["pixels"]) * (
                float(row["confidence"]) - float(row["glacier_share"])
            )
            pixels += int(row["pixels"])
    return sum(map(abs, gaps.values())) / pixels if pixels else None


def _size_mb(folder: Path) -> float:
    return sum((folder / file.name).stat().st_size for file in (ModelFolder.weights, ModelFolder.card)) / 1e6


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def note_teachers(config: RunConfig, ensemble: Ensemble, settings: PredictSettings, own: ModelFolder) -> None:
    """Writes into the card of a student of whom it learned."""
    card = read_card(own.path)
    facts: dict[str, Any] = {
        "teachers": ["/".join(Path(name).parts[-3:]) for name in teacher_names(config)],
        "networks": len(ensemble.networks),
        "parameters": sum(count_parameters(network) for network in ensemble.networks),
        "symmetries": bool(settings.symmetries),
        "scenes_without_truth": len(config.distil.scenes),
        "truth_weight": config.distil.truth_weight,
    }
    if card.training.get("distilled_from") != facts:
        update_card(own.path, training={**card.training, "distilled_from": facts})


def _teachers_settings(ensemble: Ensemble, config: RunConfig) -> PredictSettings:
    asked, weights = config.distil.symmetries, ensemble.weights
    usual = weights.card.symmetries if weights else True
    window_px = weights.window_px if weights else None
    return config.prediction.replaced(
        symmetries=usual if asked is None else asked,
        window_px=config.prediction.window_px or window_px,
    )


def _fitted(ensemble: Ensemble, regions: Sequence[Region]) -> list[Region]:
    """Returns regions with the bands that teachers from outside want; says what is unlike their training."""
    found = [(region, ensemble.fit(region.scene, InputSettings(force=True))) for region in regions]
    lines = list(dict.fromkeys(line for _, fitted in found for line in fitted.warnings))
    for line in lines[:5]:
        _log.warning(line)
    if len(lines) > 5:
        _log.warning(f"{len(lines) - 5} more scenes are unlike what the teachers were trained on")
    return [replace(region, scene=fitted.scene) for region, fitted in found]
