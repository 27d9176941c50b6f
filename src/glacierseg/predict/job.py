"""What the prediction of a scene is: its windows, networks and files, and all that its result depends on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from glacierseg._version import __version__
from glacierseg.choices import Engine, Precision, ProbabilityType
from glacierseg.errors import RasterError, RequestError
from glacierseg.predict.calibration import LogitScale
from glacierseg.predict.engines import int8_fingerprint
from glacierseg.predict.files import INT8_TAG, NETWORKS_TAG, PLACE_TAG, SOURCE_TAG, ScenePrediction
from glacierseg.predict.halo import HALO_WINDOW_PX, check_halo
from glacierseg.predict.members import Ensemble, layer_facts
from glacierseg.predict.stream import Predictor
from glacierseg.predict.strips_folder import StripsFolder
from glacierseg.raster.open import files_behind, open_raster
from glacierseg.raster.scene import Scene
from glacierseg.raster.tiling import Tiling
from glacierseg.raster.write import digest_of
from glacierseg.runs.layout import ModelFolder


@dataclass(frozen=True)
class Job:
    """One scene to predict.

    Attributes:
        scene: Its bands in the order of the networks.
        members: The networks, each with its scaling.
        files: What comes out.
        tiling: Windows and their weights.
        facts: All that the result depends on, for the tags of the files.
        patch_px: Side of the largest training patch.
    """

    scene: Scene
    members: Sequence[Predictor]
    files: ScenePrediction
    tiling: Tiling
    facts: Mapping[str, str]
    patch_px: int

    def windows_at_once(self, batch_size: int) -> int:
        """Returns how many windows have as many pixels as a batch of training patches."""
        return max(1, min(batch_size, batch_size * self.patch_px**2 // self.tiling.window_px**2))

    @property
    def tops(self) -> tuple[int, ...]:
        """First row of every strip."""
        return self.tiling.core_starts(self.scene.grid.height)

    def folder(self) -> StripsFolder:
        """Opens the folder of its strips."""
        return strips_folder(len(self.members), self.files, self.tiling, self.facts)


def plan(
    ensemble: Ensemble,
    scene: Scene,
    out_dir: Path,
    *,
    window_px: int | None = None,
    overlap: float = 0.5,
    halo_px: int = 0,
    batch_size: int = 16,
    threshold: float = 0.5,
    symmetries: bool = False,
    engine: Engine = "auto",
    precision: Precision = "auto",
    int8_model: Path | None = None,
    dtype: ProbabilityType = "float32",  # noqa: ARG001  (concerns the finished files)
    calibration: LogitScale | None = None,  # noqa: ARG001
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Job:
    """Plans the prediction of a scene.

    Args:
        ensemble: The networks.
        scene: The scene.
        out_dir: Where the results go.
        window_px: This and the others as in `predict_scene`.
        overlap: See there.
        halo_px: See there.
        batch_size: See there.
        threshold: See there.
        symmetries: See there.
        engine: See there.
        precision: See there.
        int8_model: See there.
        dtype: Has no influence.
        calibration: Has no influence.
        name: See there.
        tags: See there.
        source: The word for the scene where it is known, so that not every process has to read it all.

    Raises:
        BandError: The scene lacks bands.
        RasterError: A band holds complex numbers.
        RequestError: A number makes no sense, or the engine cannot be used.
    """
    from glacierseg.predict.export import fingerprint  # noqa: PLC0415  (brings torch)

    _check_request(window_px, overlap, batch_size, threshold)
    scene = ensemble.matching_scene(scene)
    if imaginary := [band for band in scene.bands if np.dtype(band.dtype).kind == "c"]:
        raise RasterError(
            f"{imaginary[0].path}: band {imaginary[0].name} holds complex numbers; give its amplitude"
        )
    window_px = window_px or (HALO_WINDOW_PX if halo_px else ensemble.window_px)
    if halo_px:
        check_halo(ensemble, window_px, halo_px)
    members = ensemble.predictors(
        scene,
        window_px=window_px,
        engine=engine,
        precision=precision,
        int8_model=int8_model,
        symmetries=symmetries,
    )
    facts = {
        "software": f"glacierseg {__version__}",
        "model": ensemble.name,
        NETWORKS_TAG: ",".join(
            fingerprint(network, own.scaling if own else None)
            for network, own in zip(ensemble.networks, ensemble.cards, strict=True)
        ),
        "bands": ",".join(scene.band_names),
        "window_px": str(window_px),
        **({"halo_px": str(halo_px)} if halo_px else {"overlap": f"{overlap:g}"}),
        "threshold": f"{threshold:g}",
        "engine": ensemble.computed_by(engine, precision),
        SOURCE_TAG: source or _fingerprint(scene),
        PLACE_TAG: _place(scene),
        **({INT8_TAG: int8_fingerprint(int8_model)} if int8_model and precision == "int8" else {}),
        **layer_facts(len(members), len(ensemble.networks), symmetries=symmetries),
        **(tags or {}),
    }
    files = files_of(out_dir, name or scene.name)
    tiling = Tiling(window_px, 0.0 if halo_px else overlap, halo_px)
    return Job(scene, members, files, tiling, facts, ensemble.largest_patch_px)


def files_of(out_dir: Path, stem: str) -> ScenePrediction:
    """Returns the paths of a scene's two files."""
    return ScenePrediction(ModelFolder(out_dir).probability(stem), ModelFolder(out_dir).mask(stem))


def strips_folder(
    layers: int, files: ScenePrediction, tiling: Tiling, facts: Mapping[str, str]
) -> StripsFolder:
    """Opens the folder of a scene's strips; those that depend on anything else are removed.

    Raises:
        OutputError: It cannot be made.
    """
    # The threshold is applied when all is done.
    known = {key: value for key, value in facts.items() if key not in {"threshold", PLACE_TAG}}
    key = {**known, "tiling": asdict(tiling), "layers": layers}
    return StripsFolder(files.probability.with_name(f".{files.probability.stem}.strips"), key)


def _fingerprint(scene: Scene) -> str:
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


def _place(scene: Scene) -> str:
    # Resolved: a link may lead to last year's scene today and to this year's tomorrow.
    places = [[path.name, *(str(file.resolve()) for file in files_behind(path))] for path in scene.paths]
    return sha256(json.dumps(places).encode()).hexdigest()[:16]


def _check_request(window_px: int | None, overlap: float, batch_size: int, threshold: float) -> None:
    if window_px is not None and window_px < 1:
        raise RequestError(f"a window of {window_px} px makes no sense; give 1 or more")
    if not 0 <= overlap < 1:
        raise RequestError(f"an overlap of {overlap:g} makes no sense; give 0 or more and less than 1")
    if batch_size < 1:
        raise RequestError(f"a batch of {batch_size} windows makes no sense; give 1 or more")
    if not 0 < threshold < 1:
        raise RequestError(f"a threshold of {threshold:g} makes no sense; give a probability between 0 and 1")
