"""The fields of settings are keywords of the stages that people call at a notebook."""

from importlib import import_module
from inspect import Parameter, signature
from typing import get_args

import pytest

from glacierseg.errors import RequestError
from glacierseg.settings.base import Settings

STAGES = [
    "bands.scene.band_importance",
    "change.files.change_between_files",
    "evaluate.detail.evaluate_files",
    "evaluate.intervals.bootstrap_scores",
    "evaluate.paired.compare_masks",
    "experiment.benchmark.compare_runs",
    "inventory.files.make_inventory",
    "predict.export.export_model",
    "predict.int8.quantize_model",
    "predict.scene.predict_scene",
    "raster.prepare.normalize.normalize_scene",
    "raster.prepare.ranges.measure_ranges",
    "raster.prepare.rasterize.rasterize_file",
    "raster.prepare.stack.stack_rasters",
    "refine.steps.refine_mask",
    "refine.search.tune_refinement",
    "report.figures.write_scene_figures",
    "vectors.polygons.draw_outlines",
    "vectors.polygons.vectorize_mask",
    "weights.fitting.fit_scene",
    "weights.own.fit_own",
]


def settings_of(parameter: Parameter) -> list[type[Settings]]:
    kinds = get_args(parameter.annotation)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)]


@pytest.mark.parametrize("name", STAGES)
def test_fields_are_keywords(name: str) -> None:
    """Types show the object alone: that keywords are taken is seen from the complaint about their value."""
    module, _, function = f"glacierseg.{name}".rpartition(".")
    stage = getattr(import_module(module), function)
    parameters = signature(stage).parameters
    needed = {key: None for key, one in parameters.items() if one.default is Parameter.empty}
    fields = [list(kind.model_fields)[-1] for one in parameters.values() for kind in settings_of(one)]
    assert fields
    for field in fields:
        with pytest.raises(RequestError, match=f"^{field}"):
            stage(**needed, **{field: object()})
