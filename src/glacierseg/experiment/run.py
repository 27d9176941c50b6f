"""The run: every stage for every network, each skipped when its result is already there."""

import logging
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg import log
from glacierseg.data.regions import Region
from glacierseg.errors import ConfigError, DataError, GlaciersegError, RequestError, did_you_mean
from glacierseg.experiment.calibration import calibrate
from glacierseg.experiment.distil import (
    check_distil,
    compare_with_teachers,
    more_ground,
    note_teachers,
    predict_teachers,
    taught,
)
from glacierseg.experiment.importance import bands_of_preset, choose_top_bands
from glacierseg.experiment.postprocess import refine_regions, write_inventories, write_outlines
from glacierseg.experiment.predict import predict_regions, threshold_masks
from glacierseg.experiment.regions import (
    check_inputs,
    choose_bands,
    load_regions,
    open_sources,
    tuning_truths,
)
from glacierseg.experiment.scoring import Rows, read_scores, score_regions, write_tables
from glacierseg.experiment.surfaces import tell_surfaces
from glacierseg.experiment.teachers import find_teachers, notice_of_teachers, outside_teachers
from glacierseg.experiment.training import check_named_bands, train, try_options
from glacierseg.experiment.windows import choose_windows
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.outputs import keeping
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.write import read_json, write_json
from glacierseg.runs.layout import (
    ALL_BANDS,
    TEACHER,
    THRESHOLD,
    TOP_BANDS,
    ModelFolder,
    RunFolder,
    student_name,
)
from glacierseg.runs.results import SCORES
from glacierseg.runs.write import begin, forget_beginning, locked
from glacierseg.settings import ModelConfig, PredictSettings, RunConfig, is_missing
from glacierseg.training.processes import find_processes, join, wait_for_others

_log = logging.getLogger(__name__)

_MOST_LINES = 24


def run_experiment(config: RunConfig, out_dir: Path) -> Path:
    """Runs every stage of a configuration; continues where an earlier call stopped.

    Args:
        config: What to do.
        out_dir: The run's folder, made when missing.

    Returns:
        The run's folder.

    Raises:
        GlaciersegError: The data or the request is at fault.
    """
    if find_processes().count > 1:
        raise RequestError(
            "`run` works in one process; train each network with `torchrun ... glacierseg train` into the "
            "same folder first, then `run` goes on from there"
        )
    folder = RunFolder(Path(out_dir))
    with locked(folder), keeping(config.regions, config.distil):
        return _run(config, folder)


def _run(config: RunConfig, folder: RunFolder) -> Path:
    regions = _begin(config, folder)
    every_band = regions[0].scene.band_names
    _write_notices(config, folder, regions)
    shown = _shown(config.prediction, regions)
    scored: list[tuple[str, str, Rows]] = []
    usual = config.networks[0]
    rule = folder.model(THRESHOLD, ALL_BANDS)
    with log.about(THRESHOLD):
        _log.info(f"best rule on training pixels: {threshold_masks(regions, rule, shown)}")
        scored.append((THRESHOLD, ALL_BANDS, _finish(config, shown, rule, usual)))
    for model in config.models:
        best: tuple[str, ...] = ()
        for bands in (ALL_BANDS, TOP_BANDS):
            if bands == TOP_BANDS and not best:
                continue
            own = folder.model(model.name, bands)
            with log.about(f"{model.name} {bands}"):
                _train(config, model, every_band if bands == ALL_BANDS else best, regions, own)
                _predict(config, model, regions, shown, own)
                if bands == ALL_BANDS and 0 < config.bands.top < len(every_band):
                    best = choose_top_bands(config.bands, model.name, regions, own)
                scored.append((model.name, bands, _finish(config, shown, own, model)))
        # Written after every network, so that an unfinished run shows what it has.
        write_tables(folder, scored)
    if config.distil.student:
        scored += _distil(config, config.distil.student, regions, shown, folder)
        write_tables(folder, scored)
    _log_scores(scored, lines=len(shown))
    if config.outputs.report:
        from glacierseg.report import write_report  # noqa: PLC0415  (brings matplotlib)

        _log.info(f"report: {write_report(folder.path)}")
    if config.outputs.project:
        from glacierseg.experiment.review import prepare_review  # noqa: PLC0415  (brings matplotlib)

        prepare_review(folder.path)
    return folder.path


def _distil(
    config: RunConfig,
    student: ModelConfig,
    regions: Sequence[Region],
    shown: Sequence[Region],
    folder: RunFolder,
) -> list[tuple[str, str, Rows]]:
    """Predicts what the teachers say together, teaches it to the student, and scores both."""
    scored, name = [], student_name(student.name)
    teacher, own = folder.model(TEACHER, ALL_BANDS), folder.student(student.name)
    ground = (*regions, *more_ground(config, regions))
    with log.about(TEACHER):
        ensemble = find_teachers(config, folder)
        names = {region.name for region in shown}
        seen = [region for region in ground if "train" in region.areas or region.name in names]
        settings = predict_teachers(ensemble, config, seen, folder)
        scored.append((TEACHER, ALL_BANDS, _finish(config, shown, teacher, student)))
    with log.about(name):
        if not own.weights.exists():
            _train(config, student, regions[0].scene.band_names, taught(config, ground, folder), own)
        note_teachers(config, ensemble, settings, own)
        _predict(config, student, regions, shown, own)
        scored.append((name, ALL_BANDS, _finish(config, shown, own, student)))
    compare_with_teachers(ensemble, {name: rows["pooled"] for name, _, rows in scored}, folder)
    return scored


def _predict(
    config: RunConfig,
    model: ModelConfig,
    regions: Sequence[Region],
    shown: Sequence[Region],
    folder: ModelFolder,
) -> None:
    """Predicts what is shown in windows that validation pixels choose, and calibrates it on those pixels."""
    truths = _tuning_truths(config, regions, model)
    choose_windows(model, truths, regions, folder, config.prediction)
    predict_regions(model, shown, folder, config.prediction, {"run": config.name})
    if not folder.scores.exists():
        calibrate(truths(), folder, symmetries=bool(config.prediction.symmetries))


def _train(
    config: RunConfig,
    model: ModelConfig,
    bands: tuple[str, ...],
    regions: Sequence[Region],
    folder: ModelFolder,
) -> None:
    train(
        model,
        bands,
        regions,
        folder,
        inputs=config.bands,
        patch=config.patch,
        split=config.split,
        training=config.training,
    )


def _tuning_truths(
    config: RunConfig, regions: Sequence[Region], model: ModelConfig
) -> Callable[[], dict[str, NDArray[np.uint8]]]:
    """Returns what makes the truth on validation pixels, which a finished stage does not ask for."""
    # Under the random split the size of its patches decides which these are.
    return partial(tuning_truths, regions, model.resolved_patch_px, config.patch, config.split)


def _log_scores(scored: Sequence[tuple[str, str, Rows]], lines: int) -> None:
    # Of many regions nobody reads a line each; metrics.csv has them.
    table = "metrics" if lines <= _MOST_LINES else "pooled"
    rows = [{"model": model, "bands": bands, **row} for model, bands, own in scored for row in own[table]]
    columns = ("model", "bands", "region", "stage", *SCORES)
    role = next(role for role in ("test", "validate", "train") if any(row["role"] == role for row in rows))
    _log.info(log.table(f"Scores on {role} pixels", columns, comparison(rows, role)))


def _shown(prediction: PredictSettings, regions: Sequence[Region]) -> tuple[Region, ...]:
    """Returns the regions that are predicted, refined and scored."""
    if prediction.regions == "all":
        return tuple(regions)
    return tuple(region for region in regions if {"validate", "test"} & set(region.areas))


def train_one(config: RunConfig, name: str, bands: Sequence[str] | None, out_dir: Path) -> Path:
    """Trains one network of a configuration; under `torchrun` or SLURM with all processes together.

    Args:
        config: Regions, split and training.
        name: One of the configuration's models.
        bands: Band names; None for all.
        out_dir: The run's folder.

    Returns:
        The model folder.
    """
    processes = find_processes()
    join(processes)
    model = next((model for model in config.models if model.name == name), None)
    if model is None:
        known = [model.name for model in config.models]
        raise ConfigError(
            f"no model {name!r} in the configuration{did_you_mean(name, known)}; it has {', '.join(known)}"
        )
    folder = RunFolder(Path(out_dir))
    with locked(folder) if processes.is_first else log.muted(), keeping(config.regions):
        # The first process checks and stores everything; the others read what it stored.
        if processes.is_first:
            regions = _begin(config, folder)
        wait_for_others()
        if not processes.is_first:
            regions = _load(config, open_sources(config.regions), folder)
        scene = regions[0].scene
        chosen = scene.select(bands).band_names if bands else scene.band_names
        own = folder.model(name, ALL_BANDS if chosen == scene.band_names else _folder_name(chosen))
        with log.about(name):
            _train(config, model, chosen, regions, own)
        _log.info(f"model folder: {own.path}")
    return own.path


def _folder_name(bands: Sequence[str]) -> str:
    """Returns a file name for a choice of bands; the model's card has the bands as they are."""
    plain = "_".join(["bands", *(re.sub(r"[^A-Za-z0-9-]+", "-", band) for band in bands)])
    return plain if len(plain) <= 100 else f"bands_{zlib.crc32(','.join(bands).encode()):08x}"


def _load(config: RunConfig, sources: Mapping[str, Scene], folder: RunFolder) -> tuple[Region, ...]:
    scenes = choose_bands(config.regions, config.bands, sources, folder)
    return load_regions(config.regions, config.split, config.largest_patch_px, scenes, folder)


def _begin(config: RunConfig, folder: RunFolder) -> tuple[Region, ...]:
    """Opens and checks everything."""
    _require_files(config)
    sources = open_sources(config.regions)
    inputs = [path for scene in sources.values() for path in scene.files]
    for section in config.regions:
        for path in section.files[len(section.scene) :]:
            # A Shapefile is several files.
            inputs += path.parent.glob(f"{path.stem}.*") if path.suffix == ".shp" else [path]
    for teacher in outside_teachers(config.distil):
        inputs += [teacher / ModelFolder.card.name, teacher / ModelFolder.weights.name]
    inputs += [file for path in config.distil.scenes for file in open_scene(path).files]
    continued = begin(folder, config, inputs)
    _log.info(f"{'continuing' if continued else 'starting'} run {config.name} in {folder.path}")
    try:
        regions = _load(config, sources, folder)
        check_inputs(config.regions, config.largest_patch_px, regions, folder)
        tell_surfaces(config.regions, regions, folder)
        check_named_bands(config.bands, config.networks, regions[0].scene.band_names)
        for region in regions:
            # Refinement would refuse such a grid after all the training.
            even_pixel_m(region.scene.grid, f"region {region.name}", region.scene.paths)
        for model in config.networks:
            try_options(model, len(regions[0].scene.bands))
        check_distil(config, regions, folder)
        for model in config.models:
            bands_of_preset(config.bands, model.name, regions[0].scene)
    except GlaciersegError:
        if not continued:
            forget_beginning(folder)
        raise
    for region in regions:
        shares = ", ".join(f"{role} {area.mean():.0%}" for role, area in region.areas.items())
        glacier = (region.truth == 1).sum() / max((region.truth != 255).sum(), 1)
        height, width = region.truth.shape
        _log.info(f"region {region.name}: {width} x {height} px, {glacier:.0%} glacier, {shares}")
    return regions


def _require_files(config: RunConfig) -> None:
    """Names all files that are missing, not the first one alone."""
    asked = [(path, f"region {section.name}") for section in config.regions for path in section.files]
    asked += [(path, "distil.scenes") for path in config.distil.scenes]
    missing = [(path, where) for path, where in asked if is_missing(path)]
    if len(missing) == 1:
        raise DataError(f"{missing[0][0]}: no such file; check the path in {missing[0][1]}")
    if missing:
        named = ", ".join(f"{path} ({where})" for path, where in missing)
        raise DataError(f"{len(missing)} files are missing: {named}; check their paths")


def _finish(config: RunConfig, regions: Sequence[Region], folder: ModelFolder, model: ModelConfig) -> Rows:
    """Refines, outlines and scores what a network or the rule predicted."""
    truths = _tuning_truths(config, regions, model)
    refine_regions(
        regions, truths, folder, config.refinement, {section.name: section.dem for section in config.regions}
    )
    if config.outputs.outlines != "none":
        write_outlines(regions, folder)
    names = {region.name for region in regions}
    sections = [section for section in config.regions if section.name in names]
    write_inventories(sections, config.outputs, config.inventory, folder)
    # A run of an earlier version stored scores of another kind, which are made again.
    if (scores := read_scores(folder)) is None:
        scores = score_regions(sections, regions, RunFolder(folder.path.parent.parent), folder)
        write_json(folder.scores, scores)
    return scores


def comparison(rows: Sequence[Mapping[str, object]], role: str = "test") -> list[list[str]]:
    """Returns the lines of the comparison table for people: one role, scores with three decimals."""
    shown = [row for row in rows if row["role"] == role]
    return [
        [str(row[key]) for key in ("model", "bands", "region", "stage")]
        + ["-" if row[key] is None else f"{row[key]:.3f}" for key in SCORES]
        for row in shown
    ]


def _write_notices(config: RunConfig, folder: RunFolder, regions: Sequence[Region]) -> None:
    notices, bands = list(config.notices), regions[0].scene.band_names
    if config.split.method == "random":
        notices.append(
            "Random split: validation patches overlap training patches, so validation scores leak and "
            "flatter. Regions that both train and test without separate parts are scored on pixels that were "
            "trained on."
        )
    checks = read_json(folder.checks)
    notices += [
        f"Regions share ground: {check['message']}."
        for check in checks["all regions"]
        if check["status"] != "passed"
    ]
    narrow = [f"{m.name} {m.width:g}" for m in config.networks if m.width < 1]
    if narrow:
        notices.append(
            f"Narrow networks: width multipliers below full size ({', '.join(narrow)}); "
            "full-size networks trained for longer are expected to score higher."
        )
    if config.bands.top and len(bands) <= config.bands.top:
        notices.append(
            f"The scenes have {len(bands)} bands, so there is no choice of the best {config.bands.top}."
        )
    notices += notice_of_teachers(config, regions)
    write_json(folder.notices, notices)
