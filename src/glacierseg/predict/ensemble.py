"""What predicts together: networks of an ensemble, and the eight ways to look at a window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Precision
from glacierseg.data.augment import Directions, Symmetry
from glacierseg.errors import RequestError
from glacierseg.models.card import ModelCard, WindowChoice, load_model
from glacierseg.models.registry import is_of
from glacierseg.models.scaling import Scaling
from glacierseg.predict.calibration import Calibration, calibration_of, read_calibration
from glacierseg.predict.engines import make_predictor, resolved
from glacierseg.predict.files import SPREAD_TAG, SYMMETRIES_TAG
from glacierseg.predict.matching import fills_of, matching_scene, missing_in
from glacierseg.predict.stream import Predictor
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene
from glacierseg.raster.tiling import Tiling, passes_of
from glacierseg.settings.predict import OVERLAP, THRESHOLD, PredictSettings
from glacierseg.settings.refine import REFINEMENT_TAG
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.fitting import Fitted
from glacierseg.weights.own import fit_own
from glacierseg.weights.shelf import Weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Ensemble:
    """One network or several that predict together.

    Attributes:
        networks: The networks.
        cards: Their cards; None for a network that takes a scene's bands as they are.
        folders: The model folders that they were loaded from; none of networks that were given as modules.
        weights: The weights by name that they are, if so.
    """

    networks: "tuple[nn.Module, ...]"
    cards: tuple[ModelCard | None, ...]
    folders: tuple[Path, ...] = ()
    weights: Weights | None = None

    @property
    def name(self) -> str:
        """Architectures, each once."""
        names = [
            card.architecture if card else type(network).__name__
            for network, card in zip(self.networks, self.cards, strict=True)
        ]
        return ",".join(dict.fromkeys(names))

    @property
    def window_px(self) -> int:
        """The patch size that all of them were trained on.

        Raises:
            RequestError: They were trained on several.
        """
        sizes = sorted({card.patch_px if card else 256 for card in self.cards})
        if len(sizes) > 1:
            raise RequestError(
                f"the networks were trained on patches of {', '.join(map(str, sizes))} px; "
                "choose one size for all with window_px"
            )
        return sizes[0]

    @property
    def largest_patch_px(self) -> int:
        """The largest patch size that one of them was trained on."""
        return max(card.patch_px if card else 256 for card in self.cards)

    def matching_scene(self, scene: Scene) -> Scene:
        """Returns the bands of a scene that the networks want.

        Raises:
            BandError: The scene lacks some.
        """
        cards = [card for card in self.cards if card]
        wanted = list(dict.fromkeys(band for card in cards for band in card.bands))
        matching = matching_scene(scene, wanted, fills_of(cards)) if wanted else scene
        # A network without a card takes all bands in their own order.
        return scene if None in self.cards else matching

    @property
    def tags(self) -> dict[str, str]:
        """What a map of theirs says of them."""
        tuned = {card and card.refinement for card in self.cards}
        # Of networks whose masks were tuned differently, their mean has no parameters of its own.
        own = tuned.pop() if len(tuned) == 1 else None
        refinement = {REFINEMENT_TAG: own.model_dump_json()} if own else {}
        return (self.weights.tags if self.weights else {}) | refinement

    def fit(self, scene: Scene, settings: InputSettings | None = None) -> Fitted:
        """Returns the bands that the networks want, and looks whether their values are like the training's.

        Networks that were given as modules are not asked about values.

        Args:
            scene: The scene.
            settings: How it is brought to what they were trained on.

        Raises:
            BandError: The scene lacks bands, or they are ambiguous.
            RequestError: The sensor is unknown, or a scale concerns none of its bands.
            ValuesError: Its values are in another unit or range than in training.
        """
        if self.weights:
            fitted = self.weights.fit(scene, settings)
            fitted = replace(fitted, scene=self.matching_scene(fitted.scene))
        else:
            known = zip(self.folders, self.cards, strict=False)
            fitted = fit_own(
                [(folder, card) for folder, card in known if card], self.matching_scene(scene), settings
            )
        return replace(fitted, warnings=(*self.told_of_missing(fitted.scene), *fitted.warnings))

    def told_of_missing(self, scene: Scene) -> tuple[str, ...]:
        """Returns a line on bands that a scene from `matching_scene` has no data of; none where it has all.

        Raises:
            RasterError: Pixels cannot be read.
        """
        missing = missing_in(scene)
        line = (
            f"{scene.paths[0]}: has no data of {missing}; the mean of the training stands there, as "
            f"{self.name} was trained to do without (modality dropout)"
        )
        return (line,) if missing else ()

    def resolved(self, settings: PredictSettings) -> PredictSettings:
        """Returns settings that leave nothing open: what they do not say is what weights or training say.

        Raises:
            RequestError: No window is given, and the networks were trained on patches of several sizes.
        """
        card, int8_model = self.weights and self.weights.card, settings.int8_model
        window_px, overlap = self._windows(settings)
        if settings.precision == "int8" and self.folders and int8_model is None:
            # Where `export` writes it. The package's own folder is no place for results.
            name = f"{self.weights.name}_int8.xml" if self.weights else "model_int8.xml"
            int8_model = Path(name) if self.weights else self.folders[0] / name
        return settings.replaced(
            window_px=window_px,
            overlap=overlap,
            threshold=settings.threshold or (card.threshold if card else THRESHOLD),
            symmetries=bool(card and card.symmetries) if settings.symmetries is None else settings.symmetries,
            int8_model=int8_model,
        )

    def _windows(self, settings: PredictSettings) -> tuple[int, float]:
        """Side and overlap of the windows; what cards say of them holds for both together, or not at all."""
        card, own = self.weights and self.weights.card, self._own_windows
        overlap, usual = settings.overlap, None
        if settings.leaves_windows_open:
            if card and (card.window_px or card.overlap is not None):
                overlap = card.overlap
            elif own:
                usual, overlap = own.window_px, own.overlap
        window_px = settings.window_px or usual or (self.weights or self).window_px
        return window_px, OVERLAP if overlap is None else overlap

    def tiling(self, settings: PredictSettings) -> Tiling:
        """Returns the windows of a prediction, and their weights."""
        return Tiling(*self._windows(settings))

    def windows_at_once(self, settings: PredictSettings) -> int:
        """Returns how many windows have as many pixels as a batch of training patches."""
        at_once = settings.batch_size * self.largest_patch_px**2 // self._windows(settings)[0] ** 2
        return max(1, min(settings.batch_size, at_once))

    @property
    def _own_windows(self) -> WindowChoice | None:
        """The windows that the cards of all networks agree on."""
        found = [card.windows if card else None for card in self.cards]
        kinds = {own and (own.window_px, own.overlap) for own in found}
        return found[0] if len(kinds) == 1 else None

    def told_of_choices(self, settings: PredictSettings) -> list[str]:
        """Returns a line on each choice of a card that makes a prediction take longer or shorter than usual.

        Args:
            settings: As the user gave them, not `resolved`.
        """
        lines, weights = [], self.weights
        who = weights.name if weights else self.name
        if weights and weights.card.symmetries and settings.symmetries is None:
            lines.append(
                f"{who}: mean over the eight symmetries, as its card says; --no-symmetries is several times "
                "faster"
            )
        window_px, overlap = self._windows(settings)
        if settings.leaves_windows_open and overlap != OVERLAP:
            lines.append(
                f"{who}: windows of {window_px} px, overlap {overlap:g}, as its card says: every pixel "
                f"{passes_of(overlap):.1f} times instead of {passes_of(OVERLAP):.0f}; --overlap {OVERLAP:g} "
                "blends as the original"
            )
        return lines

    def calibration(self, settings: PredictSettings) -> Calibration:
        """Returns the calibration of what they predict with some settings (`resolved`).

        It is for what they predict by themselves, in the way that was calibrated.

        Raises:
            RequestError: There is none.
            CheckpointError: It is damaged.
        """
        known = None
        if settings.prune_level is None:
            if self.weights:
                known = read_calibration(self.weights)
            elif len(self.cards) == 1 and self.cards[0]:
                known = calibration_of(self.cards[0], self.folders[0] if self.folders else Path(self.name))
        lacking = None
        if known is None:
            lacking = (
                "has no calibration for this; a run makes one on validation pixels, for a single network; "
                "predict that one alone"
            )
        elif known.symmetries != settings.symmetries:
            kinds, cure = ("with", "--symmetries") if known.symmetries else ("without", "--no-symmetries")
            lacking = f"its calibration is of predictions {kinds} symmetries; add {cure}"
        elif settings.precision == "int8":
            lacking = "its calibration is of predictions not in int8; leave --precision int8 out"
        if known is None or lacking:
            name = self.weights.name if self.weights else ", ".join(map(str, self.folders)) or self.name
            raise RequestError(f"{name}: {lacking}, or leave --calibrated out")
        return known

    def computed_by(self, settings: PredictSettings) -> str:
        """Returns what ``auto`` means here, for the tags of a file.

        Raises:
            RequestError: As `glacierseg.predict.engines.resolved`.
        """
        precisions = [_precision_for(card, settings.precision) for card in self.cards]
        found = [" ".join(resolved(settings.engine, precision)) for precision in precisions]
        return ",".join(dict.fromkeys(found))

    def predictors(self, scene: Scene, settings: PredictSettings) -> list[Predictor]:
        """Makes what predicts windows of a scene, one for each layer to blend.

        Args:
            scene: From `matching_scene`.
            settings: From `resolved`. With symmetries a single network gets a layer for each of the eight
                ways to look at a window, and of several each takes their mean.

        Raises:
            RequestError: As `make_predictor`, or several networks are asked for in int8.
        """
        window_px = settings.window_px or self._windows(settings)[0]
        if settings.precision == "int8" and len(self.networks) > 1:
            raise RequestError(
                f"int8 is for a single network, and these are {len(self.networks)}; give one of them, or "
                "another --precision"
            )
        made = []
        for network, card in zip(self.networks, self.cards, strict=True):
            channels = len(scene.bands)
            scaling = card.scaling if card else Scaling((0.0,) * channels, (1.0,) * channels)
            predictor = make_predictor(
                settings.engine,
                network,
                scaling,
                window_px=window_px,
                precision=_precision_for(card, settings.precision),
                int8_model=settings.int8_model,
                as_it_is=card is None or not is_of(network, card.architecture),
            )
            predictor = _north_up(predictor, scene.grid)
            names = card.bands if card else scene.band_names
            places = [scene.band_names.index(name) for name in names]
            ways = [predictor]
            if settings.symmetries:
                directions = Directions.of(scene.select(names))
                ways = [_turned(predictor, symmetry, directions) for symmetry in directions.symmetries]
            whole = places == list(range(channels))
            made.append(ways if whole else [_selected(way, places) for way in ways])
        return made[0] if len(made) == 1 else [ways[0] if len(ways) == 1 else _mean(ways) for ways in made]


def _precision_for(card: ModelCard | None, precision: Precision) -> Precision:
    # A network without a card is not ours; nothing is known of how it bears rounding.
    return "float32" if card is None and precision == "auto" else precision


def load_ensemble(
    model: Weights | Path | str | Sequence[Path | str], *, prune_level: int | None = None
) -> Ensemble:
    """Loads networks to predict together.

    Args:
        model: Weights, a model folder, or several.
        prune_level: See `load_model`.

    Raises:
        CheckpointError: One is no model folder.
        RequestError: A network cannot be pruned.
    """
    weights = model if isinstance(model, Weights) else None
    given = model.folders if isinstance(model, Weights) else model
    listed = [given] if isinstance(given, Path | str) else given
    loaded = [load_model(folder, prune_level=prune_level) for folder in listed]
    networks, cards = zip(*loaded, strict=True)
    return Ensemble(networks, cards, tuple(Path(folder) for folder in listed), weights)


def layer_facts(layers: int, networks: int, *, symmetries: bool) -> Mapping[str, str]:
    """Returns what a prediction is the mean of, for the file's tags.

    Of several networks the number does not tell whether they looked in all symmetries, and strips of both
    kinds must not meet in one file.
    """
    kind = "networks" if networks > 1 else "symmetries"
    spread = {SPREAD_TAG: f"{layers} {kind}"} if layers > 1 else {}
    return spread | ({SYMMETRIES_TAG: "mean"} if symmetries else {})


def _north_up(predictor: Predictor, grid: Grid) -> Predictor:
    """Shows a network windows with north at the top, as in training, however the rows of a file run."""
    southward, eastward = grid.transform.e < 0, grid.transform.a > 0
    if southward and eastward:
        return predictor
    # Upside down is mirrored and turned by half.
    symmetry = Symmetry(flip=southward != eastward, quarter_turns=0 if southward else 2)

    def predict(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        return symmetry.undo(predictor(symmetry.apply(values), symmetry.apply(valid)))

    return predict


def _turned(predictor: Predictor, symmetry: Symmetry, directions: Directions) -> Predictor:
    def predict(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        if directions.exist:
            values = directions.turn(values.astype(np.float32), symmetry)
        return symmetry.undo(predictor(symmetry.apply(values), symmetry.apply(valid)))

    return predict


def _selected(predictor: Predictor, places: Sequence[int]) -> Predictor:
    # Taken where bands lie side by side, they do so in the copy too.
    return lambda values, valid: predictor(
        np.take(values.transpose(0, 2, 3, 1), places, axis=-1).transpose(0, 3, 1, 2), valid
    )


def _mean(predictors: Sequence[Predictor]) -> Predictor:
    def predict(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        total = predictors[0](values, valid).astype(np.float32)
        for predictor in predictors[1:]:
            total += predictor(values, valid)
        total /= len(predictors)
        return total

    return predict
