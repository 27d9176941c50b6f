"""The command that predicts scenes."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg import log
from glacierseg.cli.options import WeightsName, split_model, with_settings
from glacierseg.cli.output import say_area
from glacierseg.raster.outputs import writes
from glacierseg.settings.predict import ClusterSettings, PredictSettings
from glacierseg.settings.scene import SourceSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.predict.calibration import Calibration
    from glacierseg.predict.cluster import Shares
    from glacierseg.predict.ensemble import Ensemble
    from glacierseg.raster.scene import Scene


def add_predict_command(app: typer.Typer) -> None:
    """Adds `predict` to the command line."""
    app.command()(predict)


@with_settings
@writes(out=None)
def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL_DIR] SCENE...",
            help="Trained model, unless --weights names one; scenes, or products, also with all options of "
            "`prepare scene`.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")],
    cluster: ClusterSettings,
    reading: SourceSettings,
    settings: PredictSettings,
    weights: WeightsName = None,
    more: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="DIR", help="One more model: the mean and a band of spread."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", metavar="", help="Replace existing maps.")] = False,
) -> None:
    """Predict scenes or products to <scene>_mask.tif and _probability.tif; run it again to continue."""
    from glacierseg.predict.ensemble import load_ensemble
    from glacierseg.predict.scene import predict_scene
    from glacierseg.weights import find_weights

    model_dir, scenes = split_model(paths, weights)
    if model_dir and reading.sensor is not None:
        raise typer.BadParameter("--sensor goes with --weights; a MODEL_DIR knows its bands by name")
    if weights and more:
        raise typer.BadParameter("--with goes with a MODEL_DIR; weights predict by themselves")
    model = [model_dir, *(more or ())] if model_dir else find_weights(weights or "")
    ensemble = load_ensemble(model, prune_level=settings.prune_level)
    # All scenes are looked at first: better to refuse the tenth now than in an hour.
    opened, unlike = _opened(ensemble, _read(ensemble, scenes, out, reading, again=again))
    for line in ensemble.told_of_choices(settings):
        _log.info(line)
    settings = ensemble.resolved(settings)
    calibration = _calibration(ensemble, settings)
    opened = opened if again else _unfinished(ensemble, opened, out, settings)
    if not opened:
        return
    sharing: AbstractContextManager[tuple[Shares, ...]] = nullcontext(())
    if cluster.asked_for:
        from glacierseg.predict.cluster import shared_out

        sharing = shared_out(cluster, ensemble, opened, out, settings)
    with sharing as shares:
        for number, scene in enumerate(opened):
            with log.bar(f"predicting {scene.name}", scene.grid.height * scene.grid.width) as progress:
                if shares:
                    shares[number].wait(progress)
                files = predict_scene(ensemble, scene, out, settings, again=again, progress=progress)
            _log.info(str(files.probability))
            _log.info(str(files.mask))
            if calibration:
                _say_area(calibration, files.probability, settings, unlike=scene.name in unlike)


def _read(
    ensemble: "Ensemble", paths: list[Path], out: Path, reading: SourceSettings, *, again: bool
) -> "list[tuple[Scene, SourceSettings]]":
    """Opens scenes, and makes them of products; each with how it is brought to what networks know."""
    from glacierseg.raster.deliveries import looks_like_product
    from glacierseg.raster.scene import open_scene

    found: list[tuple[Scene, SourceSettings]] = []
    are_products = [bool(looks_like_product(path)) for path in paths]
    _refuse_namesakes([path.stem for path, is_one in zip(paths, are_products, strict=True) if not is_one])
    if (given := ", ".join(reading.only_for_products)) and not any(are_products):
        raise typer.BadParameter(f"{given}: used for products only, and none is given; leave it out")
    for path, is_product in zip(paths, are_products, strict=True):
        if is_product:
            from glacierseg.predict.prepared import prepare_for

            made = prepare_for(ensemble, [path], out, reading, again=again)
            found.append((made.levels, made.reading))
        else:
            found.append((open_scene(path, bands=reading.band_names, nodata=reading.nodata), reading))
    _refuse_namesakes([scene.name for scene, _ in found])
    return found


def _refuse_namesakes(names: list[str]) -> None:
    from glacierseg.errors import RequestError

    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise RequestError(
            f"two scenes are called {doubled}, so their maps would overwrite one another; predict each into "
            "a different --out"
        )


def _opened(
    ensemble: "Ensemble", scenes: "list[tuple[Scene, SourceSettings]]"
) -> "tuple[list[Scene], set[str]]":
    """Returns the scenes as the networks know them, and the names of those that gave warnings."""
    fitted = [ensemble.fit(scene, reading) for scene, reading in scenes]
    for line in (line for one in fitted for line in one.warnings):
        _log.warning(line)
    return [one.scene for one in fitted], {one.scene.name for one in fitted if one.warnings}


def _calibration(ensemble: "Ensemble", settings: PredictSettings) -> "Calibration | None":
    from glacierseg.errors import RequestError

    try:
        return ensemble.calibration(settings)
    except RequestError:
        if settings.calibrated:
            raise
        return None


def _unfinished(
    ensemble: "Ensemble", scenes: "list[Scene]", out: Path, settings: PredictSettings
) -> "list[Scene]":
    """Leaves out scenes whose maps are there already, just as they would be made."""
    from glacierseg.predict.scene import finished_files

    left = []
    for scene in scenes:
        files = finished_files(ensemble, scene, out, settings)
        if files is None:
            left.append(scene)
        else:
            _log.info(f"{files.probability}: is up to date; --again predicts it again")
    return left


def _say_area(
    calibration: "Calibration", probability: Path, settings: PredictSettings, *, unlike: bool
) -> None:
    from glacierseg.errors import RasterError
    from glacierseg.evaluate.reliability import predicted_area

    if unlike:
        _log.info(
            "no bounds of its glacier area: the scene is unlike the ground of the calibration (see the "
            "warnings above)"
        )
        return
    try:
        bounds = predicted_area(probability, calibration, settings.confidence)
    except RasterError as error:
        # The map itself is whole and right, so this is no failure.
        _log.info(f"no bounds of its glacier area: {error}")
        return
    if bounds:
        say_area(bounds)
