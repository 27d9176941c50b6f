"""The command that predicts scenes."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glacierseg import log
from glacierseg.choices import Engine, Precision, ProbabilityType
from glacierseg.cli.prepare import split_names
from glacierseg.cli.weights import WeightsName, split_model
from glacierseg.raster.outputs import writes

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.predict.calibration import Calibration
    from glacierseg.predict.members import Ensemble
    from glacierseg.raster.scene import Scene
    from glacierseg.weights import Weights

_NO_CALIBRATION = (
    "has no calibration for what is asked; a run makes one on validation pixels, for a single network; "
    "predict that one alone"
)


def add_predict_command(app: typer.Typer) -> None:
    """Adds `predict` to the command line."""
    app.command()(predict)


@writes(out=None)
def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL_DIR] SCENE...", help="A trained model unless --weights names one, and scenes."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the result goes.")],
    weights: WeightsName = None,
    band_names: Annotated[
        str | None,
        typer.Option(help="Names of the bands in file order, separated by commas."),
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(help="For --weights: what B2 means in the scenes, if they are of another sensor."),
    ] = None,
    nodata: Annotated[
        float | None, typer.Option(help="Value of pixels without data where the files declare none.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Values of reflected light times this ...")] = 1.0,
    offset: Annotated[float, typer.Option(help="... plus this are in the unit of the training.")] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Predict though values look strange.")] = False,
    window_px: Annotated[
        int | None,
        typer.Option(
            help="Side of a window; by default the training patch or the weights' own, 512 with a halo."
        ),
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a window that the next one covers too.")] = 0.5,
    halo_px: Annotated[
        int,
        typer.Option(
            min=0,
            help="Do not blend: use what lies so far inside large windows. Cheaper; says how well it agrees.",
        ),
    ] = 0,
    batch_size: Annotated[int, typer.Option(help="Windows of the training patch's size per pass.")] = 16,
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability from which a pixel is glacier; 0.5 or the weights' own."),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Option("--with", help="One more model folder; predicts the mean and, as a band, the spread."),
    ] = None,
    symmetries: Annotated[
        bool | None,
        typer.Option(
            "--symmetries/--no-symmetries",
            help="Mean over the eight flips and turns of every window, in up to eight times the time; by "
            "default as the weights' own card says, otherwise not.",
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What computes.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="What it computes in.")] = "auto",
    int8_model: Annotated[
        Path | None,
        typer.Option(
            help="Network for --precision int8; model_int8.xml in MODEL_DIR, or <weights>_int8.xml here, by "
            "default."
        ),
    ] = None,
    dtype: Annotated[
        ProbabilityType, typer.Option(help="Of the probability; uint8 holds 254 levels.")
    ] = "float32",
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Store calibrated probabilities; the mask stays the same.")
    ] = False,
    confidence: Annotated[
        float, typer.Option(help="Of the bounds of the glacier area, where the network is calibrated.")
    ] = 0.9,
    prune_level: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="Steps of a unetplusplus with deep supervision: fewer are faster."),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Predict also scenes whose maps are there; replace those of namesakes."),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Share the work out among so many processes (extra `cluster`).")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Share it out over this Dask cluster, tcp://HOST:PORT.")
    ] = None,
) -> None:
    """Predict scenes whole: <scene>_probability.tif and <scene>_mask.tif; again to go on where it stopped."""
    from glacierseg.errors import RequestError  # noqa: PLC0415
    from glacierseg.evaluate.area_bounds import require_confidence  # noqa: PLC0415
    from glacierseg.predict.cluster import connected  # noqa: PLC0415
    from glacierseg.predict.members import load_ensemble  # noqa: PLC0415
    from glacierseg.predict.scene import predict_scene  # noqa: PLC0415
    from glacierseg.predict.shares import submitted  # noqa: PLC0415
    from glacierseg.raster.scene import open_scene  # noqa: PLC0415
    from glacierseg.weights import find_weights  # noqa: PLC0415

    model_dir, scenes = split_model(paths, weights)
    fitting: dict[str, Any] = {"sensor": sensor, "scale": scale, "offset": offset, "force": force}
    _check_usage(weights, more, fitting, precision, halo_px)
    _check_names(scenes)
    named = None if weights is None else find_weights(weights)
    folders = [*(named.folders if named else ()), *([model_dir] if model_dir else ()), *(more or ())]
    ensemble = load_ensemble(folders, prune_level=prune_level)
    # All scenes are looked at first: better to refuse the tenth now than in an hour.
    opened = [open_scene(path, bands=split_names(band_names), nodata=nodata) for path in scenes]
    opened, unlike = _fitted(named, ensemble, folders, opened, fitting)
    default = named.card.threshold if named else 0.5
    settings: dict[str, Any] = {
        "window_px": named.window_px if named and window_px is None and not halo_px else window_px,
        "overlap": overlap,
        "halo_px": halo_px,
        "batch_size": batch_size,
        "threshold": default if threshold is None else threshold,
        "symmetries": _symmetric(named, symmetries),
        "engine": engine,
        "precision": precision,
        "int8_model": int8_model or (_int8_model(named, folders[0]) if precision == "int8" else None),
        "dtype": dtype,
    }
    require_confidence(confidence)
    alone = not more and prune_level is None
    own = _own_calibration(named or folders[0], settings) if alone else _NO_CALIBRATION
    if calibrated:
        if isinstance(own, str):
            raise RequestError(f"{weights or model_dir}: {own}, or leave --calibrated out")
        settings["calibration"] = own.scale
    if named:
        settings["tags"] = named.tags
    opened = opened if again else _unfinished(ensemble, opened, out, settings)
    if not opened:
        return
    if halo_px:
        _say_agreement(ensemble, opened, settings)
    with (
        connected(dask, workers) as cluster,
        submitted(cluster, folders, opened, out, prune_level=prune_level, **settings) as shares,
    ):
        for number, scene in enumerate(opened):
            with log.bar(f"predicting {scene.name}", scene.grid.height * scene.grid.width) as progress:
                if shares:
                    shares[number].wait(progress)
                files = predict_scene(ensemble, scene, out, again=again, progress=progress, **settings)
            _log.info(str(files.probability))
            _log.info(str(files.mask))
            if not isinstance(own, str):
                _say_area(own, files.probability, confidence, unlike=scene.name in unlike)


def _int8_model(named: "Weights | None", folder: Path) -> Path:
    """Returns where `export` writes a quantised network unless it is told otherwise."""
    return Path(f"{named.name}_int8.xml") if named else folder / "model_int8.xml"


def _check_usage(
    weights: str | None, more: list[Path] | None, fitting: dict[str, Any], precision: str, halo_px: int
) -> None:
    from glacierseg.errors import RequestError  # noqa: PLC0415

    if precision == "int8" and halo_px:
        raise RequestError(
            "int8 takes windows of one size, and a halo is compared with a blend of smaller ones; leave "
            "--halo-px or --precision int8 out"
        )
    if weights is None and fitting["sensor"] is not None:
        raise typer.BadParameter("--sensor goes with --weights; a MODEL_DIR knows its bands by name")
    if weights is not None and more:
        raise typer.BadParameter("--with goes with a MODEL_DIR; weights predict by themselves")


def _check_names(scenes: list[Path]) -> None:
    from glacierseg.errors import RequestError  # noqa: PLC0415

    stems = [scene.stem for scene in scenes]
    if doubled := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise RequestError(
            f"two scenes are called {doubled}, so their maps would be too; predict them one by one, each "
            "into an --out of its own"
        )


def _fitted(
    named: "Weights | None",
    ensemble: "Ensemble",
    folders: list[Path],
    scenes: "list[Scene]",
    fitting: dict[str, Any],
) -> "tuple[list[Scene], set[str]]":
    """Returns the scenes as the networks know them, and the names of those that gave warnings."""
    from glacierseg.weights.own import fit_own  # noqa: PLC0415

    if named:
        fitted = [named.fit(scene, **fitting) for scene in scenes]
    else:
        known = ensemble.known(folders)
        asked = {key: value for key, value in fitting.items() if key != "sensor"}
        fitted = [fit_own(known, ensemble.matching_scene(scene), **asked) for scene in scenes]
    for line in (line for one in fitted for line in one.warnings):
        _log.warning(line)
    matching = [ensemble.matching_scene(one.scene) for one in fitted]
    return matching, {one.scene.name for one in fitted if one.warnings}


def _unfinished(
    ensemble: "Ensemble",
    scenes: "list[Scene]",
    out: Path,
    settings: dict[str, Any],
) -> "list[Scene]":
    """Leaves out scenes whose maps are there already, just as they would be made."""
    from glacierseg.predict.scene import finished_files  # noqa: PLC0415

    left = []
    for scene in scenes:
        files = finished_files(ensemble, scene, out, **settings)
        if files is None:
            left.append(scene)
        else:
            _log.info(f"{files.probability}: is there, made with the same; --again predicts it anew")
    return left


def _symmetric(named: "Weights | None", asked: bool | None) -> bool:
    if asked is not None:
        return asked
    if named is None or not named.card.symmetries:
        return False
    _log.info(
        f"{named.name}: mean over the eight symmetries, as its card says; --no-symmetries is several times "
        "faster"
    )
    return True


def _own_calibration(model: "Path | Weights", settings: dict[str, Any]) -> "Calibration | str":
    """Returns the calibration of what is asked for, or in words why there is none.

    It is for what its network says by itself, looking as it looked.
    """
    from glacierseg.predict.calibration import read_calibration  # noqa: PLC0415

    known = read_calibration(model)
    if known is None:
        return _NO_CALIBRATION
    if known.symmetries != settings["symmetries"]:
        kinds, cure = ("with", "--symmetries") if known.symmetries else ("without", "--no-symmetries")
        return f"its calibration is of predictions {kinds} symmetries; add {cure}"
    if settings["halo_px"] or settings["precision"] == "int8":
        return (
            "its calibration is of blended predictions that are not int8; leave --halo-px and "
            "--precision int8 out"
        )
    return known


def _say_agreement(ensemble: "Ensemble", scenes: "list[Scene]", settings: dict[str, Any]) -> None:
    from glacierseg.predict.halo import halo_agreement  # noqa: PLC0415

    of_files = {"dtype", "calibration", "tags"}
    compared = {key: value for key, value in settings.items() if key not in of_files}
    for scene in scenes:
        _log.info(f"{scene.name}: {halo_agreement(ensemble, scene, **compared)}")


def _say_area(calibration: "Calibration", probability: Path, confidence: float, *, unlike: bool) -> None:
    from glacierseg.errors import RasterError  # noqa: PLC0415
    from glacierseg.evaluate.reliability import predicted_area  # noqa: PLC0415

    if unlike:
        _log.info(
            "no bounds of its glacier area, for the scene is unlike the ground of the calibration (see the "
            "warnings above)"
        )
        return
    try:
        bounds = predicted_area(probability, calibration, confidence)
    except RasterError as error:
        # The map itself is whole and right, so this is no failure.
        _log.info(f"no bounds of its glacier area: {error}")
        return
    if bounds:
        _log.info(
            f"glacier area {bounds.expected_km2:.4g} km2, {bounds.lower_km2:.4g} to {bounds.upper_km2:.4g} "
            f"km2 with {bounds.confidence:.0%} confidence on ground like that of its calibration "
            "(docs/uncertainty.md)"
        )
