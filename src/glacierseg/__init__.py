"""From a multi-band satellite scene to a defensible glacier inventory.

    import glacierseg as gs

    network, card = gs.load_model("runs/basin/unetplusplus/all")
    files = gs.predict_scene("runs/basin/unetplusplus/all", "scene.tif", "out")
    outlines = gs.vectorize_mask(files.mask, "out/outlines.gpkg")

Names are imported when first used, so `import glacierseg` is quick.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from glacierseg._version import __version__

if TYPE_CHECKING:
    from glacierseg.bands import band_importance
    from glacierseg.catalogues.fetch import fetch_products, fetch_scene
    from glacierseg.change.files import change_between_files as measure_change
    from glacierseg.errors import GlaciersegError, GlaciersegWarning
    from glacierseg.evaluate.evaluation import evaluate_masks
    from glacierseg.evaluate.paired import compare_masks
    from glacierseg.experiment import run_experiment
    from glacierseg.inventory.files import make_inventory
    from glacierseg.mapping.chain import map_glaciers
    from glacierseg.models.card import load_model
    from glacierseg.models.registry import create_model
    from glacierseg.predict.export import export_model
    from glacierseg.predict.scene import predict_scene
    from glacierseg.products.scene import prepare_scene
    from glacierseg.raster.check import check_scene
    from glacierseg.raster.scene import open_scene
    from glacierseg.refine.search import tune_refinement
    from glacierseg.refine.steps import refine_mask
    from glacierseg.report import write_report
    from glacierseg.report.figures import write_figures, write_scene_figures
    from glacierseg.report.figures.scenes import plot_mask, plot_scene
    from glacierseg.settings import load_config
    from glacierseg.vectors.polygons import vectorize_mask
    from glacierseg.weights import find_weights, list_weights

_HOMES = {
    "GlaciersegError": "errors",
    "GlaciersegWarning": "errors",
    "band_importance": "bands",
    "check_scene": "raster.check",
    "compare_masks": "evaluate.paired",
    "create_model": "models.registry",
    "evaluate_masks": "evaluate.evaluation",
    "export_model": "predict.export",
    "fetch_products": "catalogues.fetch",
    "fetch_scene": "catalogues.fetch",
    "find_weights": "weights",
    "list_weights": "weights",
    "load_config": "settings",
    "load_model": "models.card",
    "make_inventory": "inventory.files",
    "map_glaciers": "mapping.chain",
    "measure_change": "change.files:change_between_files",
    "open_scene": "raster.scene",
    "plot_mask": "report.figures.scenes",
    "plot_scene": "report.figures.scenes",
    "predict_scene": "predict.scene",
    "prepare_scene": "products.scene",
    "refine_mask": "refine.steps",
    "run_experiment": "experiment",
    "tune_refinement": "refine.search",
    "vectorize_mask": "vectors.polygons",
    "write_figures": "report.figures",
    "write_report": "report",
    "write_scene_figures": "report.figures",
}

__all__ = [
    "GlaciersegError",
    "GlaciersegWarning",
    "__version__",
    "band_importance",
    "check_scene",
    "compare_masks",
    "create_model",
    "evaluate_masks",
    "export_model",
    "fetch_products",
    "fetch_scene",
    "find_weights",
    "list_weights",
    "load_config",
    "load_model",
    "make_inventory",
    "map_glaciers",
    "measure_change",
    "open_scene",
    "plot_mask",
    "plot_scene",
    "predict_scene",
    "prepare_scene",
    "refine_mask",
    "run_experiment",
    "tune_refinement",
    "vectorize_mask",
    "write_figures",
    "write_report",
    "write_scene_figures",
]


# Silent until a program that uses the package routes it elsewhere, as the README shows.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'glacierseg' has no attribute {name!r}")
    home, _, own_name = _HOMES[name].partition(":")
    value = getattr(import_module(f"glacierseg.{home}"), own_name or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
