"""What predicts together: networks of an ensemble, and the eight ways to look at a window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Engine, Precision
from glacierseg.data.augment import Directions, Symmetry
from glacierseg.errors import BandError, RequestError
from glacierseg.models.card import ModelCard, load_model
from glacierseg.models.registry import is_of
from glacierseg.models.scaling import Scaling
from glacierseg.predict.engines import make_predictor, resolved
from glacierseg.predict.files import SPREAD_TAG, SYMMETRIES_TAG
from glacierseg.predict.stream import Predictor
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Ensemble:
    """One network or several.

    Attributes:
        networks: The networks.
        cards: Their cards; None for a network that takes a scene's bands as they are.
    """

    networks: "tuple[nn.Module, ...]"
    cards: tuple[ModelCard | None, ...]

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
        wanted = list(dict.fromkeys(band for card in self.cards if card for band in card.bands))
        matching = matching_scene(scene, wanted) if wanted else scene
        # A network without a card takes all bands in their own order.
        return scene if None in self.cards else matching

    def known(self, folders: Sequence[Path | str]) -> list[tuple[Path | str, ModelCard]]:
        """Returns the cards of its networks with the folders that they were loaded from."""
        return [(folder, card) for folder, card in zip(folders, self.cards, strict=True) if card is not None]

    def computed_by(self, engine: Engine, precision: Precision) -> str:
        """Returns what ``auto`` means here, for the tags of a file.

        Raises:
            RequestError: As `resolved`.
        """
        found = [resolved(engine, _precision_for(card, precision)) for card in self.cards]
        return ",".join(dict.fromkeys(" ".join(each) for each in found))

    def predictors(
        self,
        scene: Scene,
        *,
        window_px: int,
        engine: Engine = "auto",
        precision: Precision = "auto",
        int8_model: Path | None = None,
        symmetries: bool = False,
    ) -> list[Predictor]:
        """Makes what predicts windows of a scene, one for each layer to blend.

        Args:
            scene: From `matching_scene`.
            window_px: Side of a window.
            engine: What computes.
            precision: What it computes in.
            int8_model: A quantised network, see `make_predictor`.
            symmetries: Look at every window in the eight ways. A single network gets a layer for each of
                them, and of several each takes their mean.

        Raises:
            RequestError: As `make_predictor`, or several networks are asked for in int8.
        """
        if precision == "int8" and len(self.networks) > 1:
            raise RequestError(
                f"int8 is for a single network, and these are {len(self.networks)}; give one of them, or "
                "another --precision"
            )
        made = []
        for network, card in zip(self.networks, self.cards, strict=True):
            channels = len(scene.bands)
            scaling = card.scaling if card else Scaling((0.0,) * channels, (1.0,) * channels)
            predictor = make_predictor(
                engine,
                network,
                scaling,
                window_px=window_px,
                precision=_precision_for(card, precision),
                int8_model=int8_model,
                as_it_is=card is None or not is_of(network, card.architecture),
            )
            predictor = _north_up(predictor, scene.grid)
            names = card.bands if card else scene.band_names
            places = [scene.band_names.index(name) for name in names]
            dtypes = [scene.bands[place].dtype for place in places]
            ways = _ways(predictor, Directions.among(names, dtypes)) if symmetries else [predictor]
            whole = places == list(range(channels))
            made.append(ways if whole else [_selected(way, places) for way in ways])
        return made[0] if len(made) == 1 else [ways[0] if len(ways) == 1 else _mean(ways) for ways in made]


def _precision_for(card: ModelCard | None, precision: Precision) -> Precision:
    # A network without a card is not ours; nothing is known of how it bears rounding.
    return "float32" if card is None and precision == "auto" else precision


def matching_scene(scene: Scene, bands: Sequence[str]) -> Scene:
    """Returns the bands of a scene that a network wants, in its order.

    Raises:
        BandError: The scene lacks some.
    """
    missing = [band for band in bands if band not in scene.band_names]
    if missing:
        raise BandError(
            f"{scene.paths[0]}: lacks {', '.join(missing)} that the model was trained on; it has "
            f"{', '.join(scene.band_names)}: name its bands as in {', '.join(bands)}"
        )
    return scene.select(bands)


def load_ensemble(folders: Sequence[Path | str], *, prune_level: int | None = None) -> Ensemble:
    """Loads networks to predict together.

    Args:
        folders: Model folders.
        prune_level: See `load_model`.

    Raises:
        CheckpointError: One is no model folder.
        RequestError: A network cannot be pruned.
    """
    loaded = [load_model(folder, prune_level=prune_level) for folder in folders]
    return Ensemble(tuple(network for network, _ in loaded), tuple(card for _, card in loaded))


def layer_facts(layers: int, networks: int, *, symmetries: bool) -> Mapping[str, str]:
    """Returns what a prediction is the mean of, for the file's tags.

    Of several networks the number does not tell whether they looked in all symmetries, and strips of both
    kinds must not meet in one file.
    """
    kind = "networks" if networks > 1 else "symmetries"
    spread = {SPREAD_TAG: f"{layers} {kind}"} if layers > 1 else {}
    return spread | ({SYMMETRIES_TAG: "mean"} if symmetries else {})


def _ways(predictor: Predictor, directions: Directions) -> list[Predictor]:
    return [_turned(predictor, symmetry, directions) for symmetry in directions.symmetries]


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
