"""The chain from a scene to an inventory and a page; a stage is skipped while its result is up to date."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import geopandas as gpd

from glacierseg import log
from glacierseg.errors import RequestError
from glacierseg.evaluate.area_bounds import AreaBounds
from glacierseg.evaluate.reliability import predicted_area
from glacierseg.inventory.files import make_inventory
from glacierseg.predict.calibration import Calibration
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.prepared import prepare_for
from glacierseg.predict.scene import finished_files, predict_scene
from glacierseg.raster.deliveries import looks_like_product
from glacierseg.raster.facts import days_in_words
from glacierseg.raster.made import Record, digest_of_inputs
from glacierseg.raster.outlines import read_own
from glacierseg.raster.outputs import writes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.refine.files import refine_file, tuned_parameters
from glacierseg.report.mapped import MapPage, write_map_page
from glacierseg.report.project import write_map_project
from glacierseg.review.corrections import write_corrections
from glacierseg.review.places import suggest_places
from glacierseg.runs.layout import ALL_BANDS, TOP_BANDS, MapFolder
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.outlines import InventoryInputs, InventorySettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.refine import RefineSettings
from glacierseg.settings.scene import SourceSettings
from glacierseg.vectors.polygons import vectorize_mask
from glacierseg.weights.shelf import Weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GlacierMap:
    """A map of glaciers and its files.

    Attributes:
        scene: File of the scene, also of one made from products.
        probability: GeoTIFF of the glacier probability.
        mask: GeoTIFF of the mask as predicted.
        refined: GeoTIFF of the mask after refinement.
        outlines: GeoPackage with outlines of both masks.
        inventory: GeoPackage of the glaciers.
        corrections: GeoPackage that an analyst edits.
        project: QGIS project of all of these.
        page: HTML report.
        glaciers: Table of the glaciers, the largest first.
        bounds: Bounds of the glacier area by calibrated probabilities; None where the scene allows none.
        warnings: Reasons to doubt the result, a line each.
        notes: Further notes, a line each.
    """

    scene: Path
    probability: Path
    mask: Path
    refined: Path
    outlines: Path
    inventory: Path
    corrections: Path
    project: Path
    page: Path
    glaciers: gpd.GeoDataFrame = field(repr=False)
    bounds: AreaBounds | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Where products were found, for the page.

    Attributes:
        facts: By label.
        notes: Warnings about them, a line each.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@fields_as_keywords(inputs=SourceSettings, settings=PredictSettings)
@writes(out_dir=None)
def map_glaciers(
    model: Path | str | Weights | Sequence[Path | str],
    source: Path | str | Sequence[Path | str],
    out_dir: Path | str,
    inputs: SourceSettings | None = None,
    *,
    settings: PredictSettings | None = None,
    inventory: InventorySettings | None = None,
    origin: Origin | None = None,
    again: bool = False,
) -> GlacierMap:
    """Maps the glaciers of a product or scene: scene, probability, refined mask, outlines, inventory, page.

    A product becomes a scene in the way of the training, which the networks' cards describe. Results whose
    inputs are unchanged are kept, so the same call goes on after an interruption. A refined mask that was
    corrected by hand stays, and its outlines and inventory are made again.

    Args:
        model: A model folder, several, or weights (`glacierseg.find_weights`).
        source: A product, several products of one day, or the file of a scene.
        out_dir: Folder of the results, which begin with the name of the product or scene.
        inputs: How the scene is made or read, and files such as the elevation model. Its fields may be given
            as keywords, such as `dem`; so may those of `settings`.
        settings: How it is predicted.
        inventory: How ice is divided into glaciers.
        origin: Where products were found.
        again: Make everything again, also a mask that was corrected by hand and files of another scene.

    Returns:
        The files, the glaciers, and notes on them.

    Raises:
        DataError: A file cannot be used, or the scene is unlike what the networks were trained on.
        RequestError: What is asked for does not fit together, or maps of another scene lie there.
        OutputError: A result cannot be written.
    """
    inputs = inputs or SourceSettings()
    sources = [Path(source)] if isinstance(source, Path | str) else [Path(path) for path in source]
    ensemble = load_ensemble(model)
    origin = origin or Origin()
    notes = origin.notes
    if any(looks_like_product(path) for path in sources):
        made = prepare_for(ensemble, sources, Path(out_dir), inputs, again=again)
        whole, scene, inputs, notes = made.whole, made.levels, made.reading, (*notes, *made.notes)
    else:
        of_map = {"--dem", "--existing", "--existing-layer"}
        if unused := ", ".join(option for option in inputs.only_for_products if option not in of_map):
            raise RequestError(f"{sources[0]}: is no product, and {unused} is for products; leave it out")
        whole = scene = open_scene(sources, bands=inputs.band_names, nodata=inputs.nodata)
    fitted = ensemble.fit(scene, inputs)
    for line in fitted.warnings:
        _log.warning(line)
    settings = settings or PredictSettings()
    for line in ensemble.told_of_choices(settings):
        _log.info(line)
    chain = _Chain(
        ensemble,
        whole,
        replace(fitted.scene, name=whole.name),
        MapFolder(Path(out_dir)),
        ensemble.resolved(settings),
        inputs,
        origin.facts,
        notes,
        fitted.warnings,
        again,
    )
    chain.predict()
    refinement = chain.refine()
    chain.draw_outlines()
    chain.make_inventory(inventory or InventorySettings())
    return chain.finish(refinement)


@dataclass(frozen=True)
class _Chain:
    """What the stages of a map share.

    Attributes:
        ensemble: The networks.
        source: The scene with all its bands.
        scene: The scene as the networks see it.
        folder: Folder of the results.
        settings: How it is predicted.
        inputs: How it was read, and the elevation model and known glaciers.
        catalogue: Where its products were found, by label.
        notes: Warnings from making the scene.
        warnings: How the scene is unlike the training.
        again: Whether everything is made again.
    """

    ensemble: Ensemble
    source: Scene
    scene: Scene
    folder: MapFolder
    settings: PredictSettings
    inputs: SourceSettings
    catalogue: Mapping[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    again: bool

    @property
    def name(self) -> str:
        return self.scene.name

    @property
    def record(self) -> Record:
        return Record(self.folder.stages(self.name), again=self.again)

    def predict(self) -> None:
        if not self.again and finished_files(self.ensemble, self.scene, self.folder.path, self.settings):
            _log.info(f"{self.folder.mask(self.name)}: is up to date")
            return
        pixels = self.scene.grid.height * self.scene.grid.width
        with log.bar(f"predicting {self.name}", pixels) as progress:
            files = predict_scene(
                self.ensemble,
                self.scene,
                self.folder.path,
                self.settings,
                again=self.again,
                progress=progress,
            )
        _log.info(str(files.mask))

    def refine(self) -> RefineSettings:
        mask = self.folder.mask(self.name)
        tuned = tuned_parameters(mask)
        settings = tuned or RefineSettings()
        dem = self.inputs.dem if settings.max_hole_slope_deg is not None else ()
        digest = digest_of_inputs([mask, *dem], settings.model_dump())

        def make() -> tuple[str, ...]:
            refine_file(mask, self.folder.refined(self.name), settings, dem=dem or None)
            return () if tuned else ("refined by default parameters, since none were tuned for the network",)

        self._link("refine", self.folder.refined(self.name), digest, make)
        return settings

    def draw_outlines(self) -> None:
        mask, refined = self.folder.mask(self.name), self.folder.refined(self.name)

        def make() -> tuple[str, ...]:
            vectorize_mask(mask, self.folder.outlines(self.name), refined_path=refined)
            return ()

        self._link("outlines", self.folder.outlines(self.name), digest_of_inputs([mask, refined]), make)

    def make_inventory(self, settings: InventorySettings) -> None:
        refined = self.folder.refined(self.name)
        inputs = InventoryInputs(
            dem=self.inputs.dem,
            probability=self.folder.probability(self.name),
            existing=self.inputs.existing,
            existing_layer=self.inputs.existing_layer,
        )
        files = [refined, self.folder.probability(self.name), *inputs.dem]
        files += [inputs.existing] if inputs.existing else []
        calibration = self._calibration()
        more = [calibration.to_dict()] if calibration else []
        digest = digest_of_inputs(files, settings.model_dump(), inputs.existing_layer, *more)

        def make() -> tuple[str, ...]:
            made = make_inventory(
                refined, self.folder.inventory(self.name), settings, inputs, calibration=calibration
            )
            notes = made.notes
            if inputs.dem:
                return notes
            divided = "" if inputs.existing else "ice bodies are not divided into glaciers, and "
            return (*notes, f"without an elevation model (--dem) {divided}glaciers have no elevations")

        self._link("inventory", self.folder.inventory(self.name), digest, make)

    def finish(self, refinement: RefineSettings) -> GlacierMap:
        folder, name = self.folder, self.name
        glaciers = read_own(folder.inventory(name), "glaciers")
        warnings = (*self.notes, *self.warnings)
        notes = (*self.record.notes("refine"), *self.record.notes("inventory"))
        weights = self.ensemble.weights
        page = MapPage(
            folder=folder,
            name=name,
            scene=self.source,
            model=weights.name if weights else self.ensemble.name,
            bands=next((one.name for one in self.ensemble.folders if one.name == TOP_BANDS), ALL_BANDS),
            networks=_about(self.ensemble),
            refinement=refinement,
            sources={
                "elevation model": self.inputs.dem,
                "existing inventory": (self.inputs.existing,) if self.inputs.existing else (),
            },
            catalogue=self.catalogue,
            bounds=self._bounds(),
            notes=(*warnings, *notes),
        )
        files = [
            folder.probability(name),
            folder.refined(name),
            folder.outlines(name),
            folder.inventory(name),
        ]

        def make() -> tuple[str, ...]:
            write_map_page(page, glaciers)
            return ()

        more = [dict(page.catalogue)] if page.catalogue else []
        self._link("page", folder.page(name), digest_of_inputs(files, page.notes, page.bounds, *more), make)
        self._prepare_review(glaciers)
        return GlacierMap(
            self.source.paths[0],
            folder.probability(name),
            folder.mask(name),
            folder.refined(name),
            folder.outlines(name),
            folder.inventory(name),
            folder.corrections(name),
            folder.project(name),
            folder.page(name),
            glaciers,
            page.bounds,
            warnings,
            notes,
        )

    def _prepare_review(self, glaciers: gpd.GeoDataFrame) -> None:
        """Writes what an analyst edits, and the QGIS project in which that is done."""
        folder, name = self.folder, self.name
        weights = self.ensemble.weights
        group = weights.name if weights else self.ensemble.name
        existing, layer = self.inputs.existing, self.inputs.existing_layer
        files = [folder.refined(name), folder.probability(name), folder.inventory(name)]
        digest = digest_of_inputs(files, [str(path) for path in (*self.source.paths, existing)], group)

        def make_corrections() -> tuple[str, ...]:
            places = suggest_places(
                folder.probability(name), calibration=self._calibration(), mask=folder.refined(name)
            )
            write_corrections(
                folder.corrections(name),
                folder.refined(name),
                glaciers,
                places,
                scene=self.source,
                facts={"model": group},
            )
            return ()

        def make_project() -> tuple[str, ...]:
            sensor = weights.card.sensor if weights else None
            write_map_project(folder, self.source, group, glaciers.total_bounds, existing, layer, sensor)
            return ()

        self._link("corrections", folder.corrections(name), digest, make_corrections, keeps_edits=True)
        self._link("project", folder.project(name), digest, make_project, keeps_edits=True)

    def _calibration(self) -> Calibration | None:
        """Returns what bounds of areas need; None where the scene is unlike the calibration."""
        if self.warnings:
            return None
        try:
            found = self.ensemble.calibration(self.settings)
        except RequestError:
            return None
        return None if found.scale.at_bound else found

    def _bounds(self) -> AreaBounds | None:
        calibration = self._calibration()
        if calibration is None:
            return None
        return predicted_area(self.folder.probability(self.name), calibration, self.settings.confidence)

    def _link(
        self,
        stage: str,
        result: Path,
        digest: str,
        make: Callable[[], Sequence[str]],
        *,
        keeps_edits: bool = False,
    ) -> None:
        made = self.record.made(stage, result, digest, make, keeps_edits=keeps_edits)
        _log.info(str(result) if made else f"{result}: is up to date")


def _about(ensemble: Ensemble) -> dict[str, str]:
    """Returns facts on the networks for the page, by label."""
    cards = [card for card in ensemble.cards if card]
    weights = ensemble.weights
    regions = dict.fromkeys(str(name) for card in cards for name in card.training.get("regions", ()))
    found = {
        "bands": ", ".join(dict.fromkeys(band for card in cards for band in card.bands)),
        "trained on": weights.card.trained_on if weights else ", ".join(regions),
        "days of the training": days_in_words([day for card in cards for day in card.training_dates]),
        "IoU in validation": ", ".join(
            f"{card.training['best_val_iou']:.3f}" for card in cards if "best_val_iou" in card.training
        ),
        "attribution": weights.card.attribution if weights else "",
    }
    return {label: text for label, text in found.items() if text}
