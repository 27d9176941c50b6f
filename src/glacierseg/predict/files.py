"""The two files of a predicted scene, and the tags that say what they were made of."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from glacierseg.choices import ProbabilityType
from glacierseg.errors import RasterError, RequestError
from glacierseg.predict.calibration import LogitScale
from glacierseg.raster.blocks import RowWriter
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import files_behind, open_raster
from glacierseg.raster.probability import LEVELS, levels_of
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.raster.write import atomic_path, digest_of
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.predict import THRESHOLD, PredictSettings

CALIBRATION_TAG = "calibration"
"""Says of a probability file that a calibration was applied already, and which."""
INT8_TAG = "int8"
"""Tells which quantised file predicted."""
NETWORKS_TAG = "weights"
"""Has a word for each network that predicted, made from its weights (`models.card.fingerprint`)."""
SOURCE_TAG = "source"
"""Has a word for the scene: the content of its files, bands, their scale and nodata, and the grid."""
PLACE_TAG = "source_place"
"""Has a word for where the files of the scene lay, on which the result does not depend."""
SPREAD_TAG = "spread_of"
"""Says what the second band of a probability file is the spread of: so many networks, or symmetries."""
SYMMETRIES_TAG = "symmetries"
"""Says that every window was looked at in all its symmetries."""

_GDALS_TAG = "AREA_OR_POINT"


@dataclass(frozen=True)
class ScenePrediction:
    """Files of one predicted scene.

    Attributes:
        probability: Glacier probability from 0 to 1, NaN where the scene has no data; or in 8 bits, times
            254, 255 where it has none. With several layers a second band holds their standard deviation.
        mask: 0 background, 1 glacier, 255 no data.
    """

    probability: Path
    mask: Path

    @classmethod
    def of(cls, out_dir: Path, name: str) -> "ScenePrediction":
        """Returns the paths of a scene's two files."""
        folder = ModelFolder(out_dir)
        return cls(folder.probability(name), folder.mask(name))


def write_files(
    strips: Iterable[NDArray[np.float32]],
    grid: Grid,
    files: ScenePrediction,
    settings: PredictSettings,
    *,
    layers: int,
    tags: Mapping[str, str],
    calibration: LogitScale | None = None,
) -> None:
    """Writes probability and mask as two cloud-optimised GeoTIFFs.

    Args:
        strips: Rows from top to bottom, `(layers, rows, W)`: probability and, as second layer, spread; NaN
            where there is no data.
        grid: Of the scene.
        files: Where they go.
        settings: Threshold of the mask, and data type of the probability.
        layers: 1 or 2.
        tags: Facts to store in the files.
        calibration: Applied to the stored probabilities. The spread stays that of the network's own ones,
            and so does the mask.
    """
    coarse, threshold = settings.dtype == "uint8", settings.threshold or THRESHOLD
    told = tags_of(tags, calibration)
    with (
        atomic_path(files.probability) as probability,
        atomic_path(files.mask) as mask,
        RowWriter(
            probability.with_name("probability"),
            grid,
            bands=["glacier_probability", "spread"][:layers],
            dtype=settings.dtype,
            nodata=IGNORE if coarse else float("nan"),
            scale=1 / LEVELS if coarse else 1.0,
            tags=told,
        ) as probabilities,
        RowWriter(
            mask.with_name("mask"), grid, bands=["glacier"], dtype="uint8", nodata=IGNORE, tags=tags
        ) as masks,
    ):
        for rows in strips:
            classes = np.where(rows[:1] >= threshold, np.uint8(GLACIER), np.uint8(0))
            missing = np.isnan(rows[:1])
            if missing.any():
                classes[missing] = IGNORE
            masks.append(classes)
            if calibration:
                rows[0] = calibration.apply(rows[0])
            probabilities.append(levels_of(rows) if coarse else rows)
        probabilities.to_cog(probability, resampling="average")
        masks.to_cog(mask, resampling="nearest")


def tags_of(facts: Mapping[str, str], calibration: LogitScale | None) -> dict[str, str]:
    """Returns the tags of a probability file."""
    told = dict(facts)
    if calibration:
        told[CALIBRATION_TAG] = f"temperature {calibration.temperature:.6g} bias {calibration.bias:.6g}"
    return told


def are_made_so(
    files: ScenePrediction, tags: Mapping[str, str], dtype: ProbabilityType, calibration: LogitScale | None
) -> bool:
    """Whether both files exist, are whole and were made with these settings.

    Args:
        files: The files.
        tags: The facts that they should hold.
        dtype: Of the probability.
        calibration: Of the probability.
    """
    told = tags_of(tags, calibration)
    for path, wanted, kind in ((files.probability, told, dtype), (files.mask, tags, "uint8")):
        if not path.is_file():
            return False
        try:
            with open_raster(path) as dataset:
                found, stored = dataset.tags(), dataset.dtypes[0]
                # What was cut short lacks its last tile.
                dataset.read(window=Window(dataset.width - 1, dataset.height - 1, 1, 1))
        except (RasterError, RasterioError):
            return False
        if _that_matter(found) != _that_matter(wanted) or stored != kind:
            return False
    return True


def _that_matter(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in tags.items() if key not in {_GDALS_TAG, PLACE_TAG}}


def refuse_maps_of_others(files: ScenePrediction, tags: Mapping[str, str], scene: Scene) -> None:
    """Raises RequestError when maps lie there that were made neither of these pixels nor of this file.

    A scene that was written again in its place gets a new map; one of the same name from another folder does
    not take the place of the first one's map without being told to.
    """
    for path in (files.probability, files.mask):
        if not path.is_file():
            continue
        try:
            with open_raster(path) as dataset:
                found = dataset.tags()
        except RasterError:  # cut short: nothing to lose
            continue
        if all(found.get(key) != tags[key] for key in (SOURCE_TAG, PLACE_TAG)):
            raise RequestError(
                f"{path}: exists and was not made from {scene.paths[0]}; give another --out, or --again to "
                "replace it"
            )


def content_of(scene: Scene) -> str:
    """Returns a word that changes with what is read of a scene and how, and not with where its files lie.

    All bytes count: scenes of two dates may be equal in name, size, time and in most of their pixels.
    """
    if _is_all_in_files(scene):
        masks = [path.with_name(f"{path.name}.msk") for path in scene.files]
        files = [digest_of(path) for path in (*scene.files, *masks) if path.exists()]
    else:
        files = [_digest_of_pixels(scene)]
    bands = [
        [
            scene.paths.index(band.path),
            band.index,
            band.dtype,
            band.nodata and float(band.nodata),
            band.scale,
            band.offset,
            *([] if band.fill is None else [band.fill]),
        ]
        for band in scene.bands
    ]
    place = [str(scene.grid.crs), *scene.grid.transform, *scene.grid.shape]
    return sha256(json.dumps([files, bands, place]).encode()).hexdigest()[:16]


def _is_all_in_files(scene: Scene) -> bool:
    """Whether all that is read of a scene lies in plain files, not in an archive or on a server."""
    if not set(scene.paths) <= set(scene.files):
        return False
    for path in scene.files:
        if path.suffix.lower() == ".vrt":
            with open_raster(path) as dataset:
                if not all(Path(name).exists() for name in dataset.files):
                    return False
    return True


def _digest_of_pixels(scene: Scene) -> str:
    digest = sha256()
    with scene.open() as reader:
        for _, values, valid in reader.strips():
            digest.update(values.tobytes())
            digest.update(valid.tobytes())
    return digest.hexdigest()


def place_of(scene: Scene) -> str:
    """Returns a word that changes with where the files of a scene lie."""
    # Resolved: a link may lead to last year's scene today and to this year's tomorrow.
    places = [[path.name, *(str(file.resolve()) for file in files_behind(path))] for path in scene.paths]
    return sha256(json.dumps(places).encode()).hexdigest()[:16]
