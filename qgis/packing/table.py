"""The table of the plug-in: which commands become algorithms, with which of their options.

Type, sentence, choices and default of an option come from the command line (`build.py`). Here stands what it
does not know: which files are layers of QGIS, what is rare, and which results are shown.
"""

from dataclasses import dataclass, replace

from glacierseg_qgis.algorithms import (
    EITHER,
    EXTENT,
    FILE,
    FILES,
    FOLDER,
    LINES,
    OUTLINES,
    RASTER,
    RASTERS,
    TO_FOLDER,
    TO_OUTLINES,
    TO_RASTER,
    Result,
)


@dataclass(frozen=True)
class Row:
    """A parameter of an algorithm.

    Attributes:
        name: That of the command's parameter.
        kind: What QGIS asks for; empty for what the type of the parameter says.
        label: A phrase for it; empty for the beginning of its sentence.
        layer: The command's parameter that takes the name of a layer.
        qgis: Its name in QGIS, where one parameter of the command has several there.
        beside: Parameter in whose file a layer is named.
        default: What the dialog begins with.
        required: Whether it must be given, where the command line asks for one of several.
    """

    name: str
    kind: str = ""
    label: str = ""
    layer: str = ""
    qgis: str = ""
    beside: str = ""
    default: int | None = None
    required: bool = False


@dataclass(frozen=True)
class Entry:
    """An algorithm: its command, its title, its parameters, those that are rare, and its results.

    It is called as the command, unless it has a name of its own.
    """

    words: str
    title: str
    rows: tuple[Row | str, ...]
    rare: tuple[Row | str, ...] = ()
    results: tuple[Result, ...] = ()
    name: str = ""


_DEM = Row("dem", RASTERS, "Elevation models")
_EXISTING = Row("existing", OUTLINES, layer="existing_layer")
_CLIP = Row("clip", OUTLINES, layer="clip_layer")
_LIKE = Row("like", RASTER)
_OTHER_BANDS = Row("layer", LINES, "Bands in files of their own, NAME=FILE, one a line")
_CONFIG = Row("config", FILE, "Configuration (YAML)")
_WEIGHTS = Row("weights", label="Weights that come with glacierseg")
_MODEL = Row("paths", FOLDER, "Or the folder of a model", qgis="model")
_SCENE_OPTIONS: tuple[Row | str, ...] = (
    "band_names", "nodata", "sensor", "scale", "offset", "force", "recipe", "keep", _OTHER_BANDS,
)  # fmt: skip
_PREDICTION = (
    "window_px", "overlap", "threshold", "symmetries", "engine", "precision", "dtype", "calibrated",
)  # fmt: skip
_ONE_SCENE = Row("paths", RASTER, "Scene", qgis="scene", required=True)
_OUTLINES = Row("outlines", OUTLINES, layer="layer")
_CHECKED = Row("checked", OUTLINES, "Ground that was looked at", beside="outlines")
_PROBABILITY = Result("PROBABILITY", "probability", "_probability.tif", style="probability")

TABLE = (
    Entry(
        "check",
        "Check a scene",
        (
            Row("scenes", RASTERS, "Scene"),
            Row("truth", EITHER, "Truth: a mask, or outlines", layer="layer"),
        ),
        ("band_names", "nodata", "patch_px"),
    ),
    Entry(
        "prepare scene",
        "Prepare a scene",
        (
            Row("products", FILES, "Sentinel-2 or Landsat products (archive, or the metadata in a folder)"),
            _DEM,
            _CLIP,
            "recipe",
            "mask",
            Row("out", TO_RASTER, "Scene"),
        ),
        (
            _EXISTING,
            _LIKE,
            Row("mask_file", EITHER, layer="mask_layer"),
            "pixel_size_m",
            "max_days_apart",
            "keep",
            "grow_m",
            "mask_saturated",
            "write_classes",
            "write_dates",
            _OTHER_BANDS,
            "compress",
        ),
        (Result("OUTPUT", "scene"),),
    ),
    Entry(
        "map",
        "Map glaciers",
        (
            _WEIGHTS,
            _MODEL,
            Row("paths", RASTERS, "Scene", qgis="scene"),
            Row("paths", FILES, "Or products (archive, or the metadata in a folder)", qgis="products"),
            Row("bbox", EXTENT, "Or a place, to search a catalogue for images"),
            Row("date", label="Days of the images of a place, FROM/TO"),
            _DEM,
            _EXISTING,
            _CLIP,
            Row("out", TO_FOLDER, "Folder of the results"),
        ),
        (
            Row("area", OUTLINES, layer="area_layer"),
            "catalogue",
            *_SCENE_OPTIONS,
            *_PREDICTION,
            _CONFIG,
            "again",
        ),
        (
            Result("INVENTORY", "inventory", "_inventory.gpkg", ("glaciers",)),
            Result("REFINED", "refined mask", "_refined.tif", style="mask"),
            _PROBABILITY,
        ),
    ),
    Entry(
        "predict",
        "Predict a mask",
        (
            _WEIGHTS,
            _MODEL,
            Row("paths", RASTERS, "Scenes", qgis="scene"),
            Row("paths", FILES, "Or products (archive, or the metadata in a folder)", qgis="products"),
            _DEM,
            _CLIP,
            Row("out", TO_FOLDER, "Folder of the results"),
        ),
        (
            Row("more", FOLDER, "Folder of one more model: the mean, and a band of spread"),
            *_SCENE_OPTIONS,
            *_PREDICTION,
            "workers",
            _CONFIG,
            "again",
        ),
        (_PROBABILITY, Result("MASK", "mask", "_mask.tif", style="mask")),
    ),
    Entry(
        "refine",
        "Refine a mask",
        (
            Row("mask", RASTER, "Mask"),
            "min_area_km2",
            "merge_distance_m",
            "iterations",
            "smoothing",
            "max_hole_km2",
            Row("out", TO_RASTER, "Refined mask"),
        ),
        (
            Row("parameters", FILE),
            Row("dem", RASTER),
            "max_hole_slope_deg",
            "connectivity",
            "keep_cut_fragments",
            "steps",
            "preset",
        ),
        (Result("OUTPUT", "refined mask", style="mask"),),
    ),
    Entry(
        "inventory",
        "Make an inventory",
        (
            Row("source", EITHER, "Mask or outlines", layer="layer"),
            _DEM,
            Row("probability", RASTER),
            _EXISTING,
            "min_area_km2",
            "divides",
            Row("out", TO_OUTLINES, "Inventory"),
        ),
        (
            Row("model", FOLDER),
            "weights",
            "existing_id",
            "src_date",
            "prefix",
            "buffer_m",
            "min_dem_share",
            _CONFIG,
            "overwrite",
        ),
        (Result("OUTPUT", "inventory", layers=("glaciers",)),),
    ),
    Entry(
        "change",
        "Measure change",
        (
            Row("old", EITHER, layer="old_layer"),
            Row("new", EITHER, layer="new_layer"),
            "old_date",
            "new_date",
            Row("dem", RASTER),
            Row("out", TO_OUTLINES, "Change"),
        ),
        (
            "old_error_m",
            "new_error_m",
            Row("centre_lines", OUTLINES, layer="centre_lines_layer"),
            Row("old_probability", RASTER),
            Row("new_probability", RASTER),
            Row("old_model", FOLDER),
            "old_weights",
            Row("new_model", FOLDER),
            "new_weights",
            "confidence",
            "overwrite",
        ),
        (Result("OUTPUT", "change", layers=("glaciers", "retreat", "advance")),),
    ),
    Entry(
        "correct",
        "Suggest places to check",
        (
            _WEIGHTS,
            _MODEL,
            _ONE_SCENE,
            Row("mask", RASTER, "Mask"),
            Row("suggest", label="Number of places", default=20, required=True),
            Row("out", TO_FOLDER, "Folder of corrections and places"),
        ),
        (_OUTLINES, _CHECKED, Row("probability", RASTER, "Probability of the scene")),
        (Result("PLACES", "places", "places.gpkg", ("places",)),),
        name="suggest",
    ),
    Entry(
        "correct",
        "Learn from corrections",
        (
            _WEIGHTS,
            _MODEL,
            _ONE_SCENE,
            Row("mask", RASTER),
            replace(_OUTLINES, required=True),
            _CHECKED,
            "analyst",
            Row("out", TO_FOLDER),
        ),
        ("member", Row("replay", FOLDER), "epochs"),
    ),
)
