"""The run: every stage for every network, each skipped when its result is already there."""

import logging
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from glacierseg import log
from glacierseg.errors import ConfigError, DataError, GlaciersegError, RequestError, did_you_mean
from glacierseg.experiment.calibration import calibrate
from glacierseg.experiment.checks import check_inputs
from glacierseg.experiment.importance import bands_of_preset, choose_top_bands
from glacierseg.experiment.network import predict_regions
from glacierseg.experiment.postprocess import refine_regions, write_inventories, write_outlines
from glacierseg.experiment.regions import (
    StudyRegion,
    choose_bands,
    open_sources,
    split_patches,
    study_regions,
    tuning_truths,
)
from glacierseg.experiment.rule import threshold_masks
from glacierseg.experiment.scoring import Rows, read_scores, score_regions, write_tables
from glacierseg.experiment.training import check_named_bands, train, try_options
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.outputs import keeping
from glacierseg.raster.write import read_json, write_json
from glacierseg.runs.layout import ALL_BANDS, THRESHOLD, TOP_BANDS, ModelFolder, RunFolder
from glacierseg.runs.results import SCORES
from glacierseg.runs.write import begin, forget_beginning, locked
from glacierseg.settings import ModelConfig, RunConfig, is_missing
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
    with locked(folder), keeping(config.regions):
        return _run(config, folder)


def _run(config: RunConfig, folder: RunFolder) -> Path:
    studied, every_band = _begin(config, folder)
    _write_notices(config, folder, every_band)
    shown = _shown(config, studied)
    scored: list[tuple[str, str, Rows]] = []
    rule = folder.model(THRESHOLD, ALL_BANDS)
    with log.about(THRESHOLD):
        _log.info(f"best rule on training pixels: {threshold_masks(studied, rule, shown)}")
        scored.append((THRESHOLD, ALL_BANDS, _finish(config, shown, rule, None)))
    for model in config.models:
        best: tuple[str, ...] = ()
        for bands in (ALL_BANDS, TOP_BANDS):
            if bands == TOP_BANDS and not best:
                continue
            own = folder.model(model.name, bands)
            selected = every_band if bands == ALL_BANDS else best
            with log.about(f"{model.name} {bands}"):
                train(config, model, studied, own, bands=selected)
                predict_regions(config, model, shown, own)
                if not own.scores.exists():
                    patch_px = model.resolved_patch_px
                    patches = split_patches(config, studied, patch_px)
                    truths = tuning_truths(config, studied, patches, patch_px)
                    calibrate(truths, own, symmetries=bool(config.prediction.symmetries))
                if bands == ALL_BANDS and 0 < config.bands.top < len(every_band):
                    best = choose_top_bands(config.bands, model.name, studied, own)
                scored.append((model.name, bands, _finish(config, shown, own, model)))
        # Written after every network, so that an unfinished run shows what it has.
        write_tables(folder, scored)
    # Of many regions nobody reads a line each; metrics.csv has them.
    table = "metrics" if len(shown) <= _MOST_LINES else "pooled"
    rows = [{"model": model, "bands": bands, **row} for model, bands, own in scored for row in own[table]]
    columns = ("model", "bands", "region", "stage", *SCORES)
    role = next(role for role in ("test", "validate", "train") if any(row["role"] == role for row in rows))
    _log.info(log.table(f"Scores on {role} pixels", columns, comparison(rows, role)))
    if config.outputs.report:
        from glacierseg.report import write_report  # noqa: PLC0415  (brings matplotlib)

        _log.info(f"report: {write_report(folder.path)}")
    return folder.path


def _shown(config: RunConfig, studied: Sequence[StudyRegion]) -> tuple[StudyRegion, ...]:
    """Returns the regions that are predicted, refined and scored."""
    if config.prediction.regions == "all":
        return tuple(studied)
    return tuple(study for study in studied if {"validate", "test"} & set(study.areas))


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
            studied, every_band = _begin(config, folder)
        wait_for_others()
        if not processes.is_first:
            scenes = choose_bands(config, open_sources(config), folder)
            studied = study_regions(config, folder, scenes)
            every_band = studied[0].region.scene.band_names
        chosen = studied[0].region.scene.select(bands).band_names if bands else every_band
        own = folder.model(name, ALL_BANDS if chosen == every_band else _folder_name(chosen))
        with log.about(name):
            train(config, model, studied, own, bands=chosen)
        _log.info(f"model folder: {own.path}")
    return own.path


def _folder_name(bands: Sequence[str]) -> str:
    """Returns a file name for a choice of bands; the model's card has the bands as they are."""
    plain = "_".join(["bands", *(re.sub(r"[^A-Za-z0-9-]+", "-", band) for band in bands)])
    return plain if len(plain) <= 100 else f"bands_{zlib.crc32(','.join(bands).encode()):08x}"


def _begin(config: RunConfig, folder: RunFolder) -> tuple[tuple[StudyRegion, ...], tuple[str, ...]]:
    """Opens and checks everything; gives the regions and the names of all bands."""
    _require_files(config)
    sources = open_sources(config)
    inputs = [path for scene in sources.values() for path in scene.files]
    for region in config.regions:
        parts = [part.polygon for part in region.roles.values() if part is not None]
        for path in (region.truth, region.dem, *parts):
            if path is not None:
                # A Shapefile is several files.
                inputs += path.parent.glob(f"{path.stem}.*") if path.suffix == ".shp" else [path]
    continued = begin(folder, config, inputs)
    _log.info(f"{'continuing' if continued else 'starting'} run {config.name} in {folder.path}")
    try:
        scenes = choose_bands(config, sources, folder)
        studied = study_regions(config, folder, scenes)
        check_inputs(config, studied, folder)
        check_named_bands(config, studied[0].region.scene.band_names)
        for study in studied:
            # Refinement would refuse such a grid after all the training.
            scene = study.region.scene
            even_pixel_m(scene.grid, f"region {study.name}", scene.paths)
        for model in config.models:
            try_options(model, len(studied[0].region.scene.bands))
            bands_of_preset(config.bands, model.name, studied[0].region.scene)
    except GlaciersegError:
        if not continued:
            forget_beginning(folder)
        raise
    for study in studied:
        shares = ", ".join(f"{role} {area.mean():.0%}" for role, area in study.areas.items())
        glacier = (study.region.truth == 1).sum() / max((study.region.truth != 255).sum(), 1)
        height, width = study.region.truth.shape
        _log.info(f"region {study.name}: {width} x {height} px, {glacier:.0%} glacier, {shares}")
    return studied, studied[0].region.scene.band_names


def _require_files(config: RunConfig) -> None:
    """Names all files that are missing, not the first one alone."""
    missing = []
    for region in config.regions:
        parts = [part.polygon for part in region.roles.values() if part is not None]
        given = (*region.scene, region.truth, region.dem, *parts)
        missing += [(path, region.name) for path in given if path is not None and is_missing(path)]
    if len(missing) == 1:
        raise DataError(f"{missing[0][0]}: no such file; check the path in region {missing[0][1]}")
    if missing:
        named = ", ".join(f"{path} (region {name})" for path, name in missing)
        raise DataError(f"{len(missing)} files are missing: {named}; check their paths")


def _finish(
    config: RunConfig,
    studied: Sequence[StudyRegion],
    folder: ModelFolder,
    model: ModelConfig | None,
) -> Rows:
    """Refines, outlines and scores what a network or the rule predicted."""
    refine_regions(config, studied, folder, model)
    if config.outputs.outlines != "none":
        write_outlines(studied, folder)
    write_inventories(config, folder, {study.name for study in studied})
    # A run of an earlier version stored scores of another kind, which are made again.
    if (scores := read_scores(folder)) is None:
        scores = score_regions(config.regions, studied, folder)
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


def _write_notices(config: RunConfig, folder: RunFolder, bands: Sequence[str]) -> None:
    notices = list(config.notices)
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
    narrow = [f"{m.name} {m.width:g}" for m in config.models if m.width < 1]
    if narrow:
        notices.append(
            f"Narrow networks: width multipliers below full size ({', '.join(narrow)}); "
            "full-size networks trained for longer are expected to score higher."
        )
    if config.bands.top and len(bands) <= config.bands.top:
        notices.append(
            f"The scenes have {len(bands)} bands, so there is no choice of the best {config.bands.top}."
        )
    write_json(folder.notices, notices)
