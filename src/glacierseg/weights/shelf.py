"""Where weights lie: in the package, and in a folder of one's own."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from glacierseg.errors import CheckpointError, RequestError, did_you_mean
from glacierseg.models.card import CARD, ModelCard, read_card
from glacierseg.raster.scene import Scene
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.card import CARD_FILE, WeightsCard
from glacierseg.weights.fitting import Fitted, fit_scene

SHIPPED = Path(__file__).parent / "shipped"
OWN_FOLDER = "GLACIERSEG_WEIGHTS_DIR"
"""Environment variable that names a folder with further weights."""
PREFIX = "weights:"
"""Before a name where a model folder is expected too, as in `start_from`."""


@dataclass(frozen=True)
class Weights:
    """One or several trained networks that predict together, under a name.

    Attributes:
        folder: Holds `card.json`, and either the files of one network or a folder `member-1`, `member-2`,
            ... for each.
        card: What they were trained on and what they expect.
    """

    folder: Path
    card: WeightsCard

    def __repr__(self) -> str:
        return f"Weights({self.name}: {self.card.summary})"

    @property
    def name(self) -> str:
        """What users call them by."""
        return self.card.name

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """The model folders: one, or one per member.

        Raises:
            CheckpointError: There is none.
        """
        if (self.folder / CARD).is_file():
            return (self.folder,)
        members = sorted(self.folder.glob("member-*"), key=lambda path: (len(path.name), path.name))
        if not members:
            raise CheckpointError(f"{self.folder}: holds no network; install glacierseg again, or pack again")
        return tuple(members)

    @property
    def megabytes(self) -> float:
        """Size of all its files, in millions of bytes."""
        return megabytes(self.folder)

    @property
    def model_cards(self) -> tuple[ModelCard, ...]:
        """The cards of its networks; they have the same bands."""
        return tuple(read_card(folder) for folder in self.folders)

    @property
    def tags(self) -> dict[str, str]:
        """What a map that they predict says of them."""
        return {"trained_weights": self.name, "attribution": self.card.attribution}

    @property
    def window_px(self) -> int:
        """Side of the windows in which they predict together."""
        return self.card.window_px or self.model_cards[0].patch_px

    def member(self, number: int | None = None) -> Path:
        """Returns the folder of one network, numbered from 1; without a number the only one."""
        count = len(self.folders)
        if number is None and count == 1:
            return self.folders[0]
        if number is None or not 1 <= number <= count:
            asked = "one is needed" if number is None else f"there is no {number}"
            raise RequestError(f"{self.name}: has {count} members, and {asked}; give --member 1 to {count}")
        return self.folders[number - 1]

    @fields_as_keywords(settings=InputSettings)
    def fit(self, scene: Scene, settings: InputSettings | None = None) -> Fitted:
        """Finds the bands that the networks want in a scene, and looks whether its values are like theirs.

        Args:
            scene: The scene.
            settings: Its sensor, scale and offset, see `fit_scene`.

        Raises:
            BandError: It lacks bands, or they are ambiguous.
            ValuesError: Its values are in another unit or range.
        """
        return fit_scene(self.card, scene, settings)


def megabytes(folder: Path) -> float:
    """Returns the size of all files in a folder, in millions of bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def list_weights() -> tuple[Weights, ...]:
    """Returns all weights: those of the package, then those in `$GLACIERSEG_WEIGHTS_DIR`.

    Raises:
        CheckpointError: A card is damaged.
        RequestError: Two have the same name.
    """
    found = [_read(path) for path in _card_files()]
    names = [weights.name for weights in found]
    for number, weights in enumerate(found):
        if weights.name in names[:number]:
            raise RequestError(
                f"{weights.folder}: the package has weights {weights.name!r} too; rename the folder and the "
                f"name in its {CARD_FILE}"
            )
    return tuple(found)


def find_weights(name: str) -> Weights:
    """Returns weights by name, with or without `weights:` before it.

    Raises:
        RequestError: There are none of that name.
        CheckpointError: A card is damaged.
    """
    name = name.removeprefix(PREFIX)
    known = {weights.name: weights for weights in list_weights()}
    if name not in known:
        listed = f"there are {', '.join(known)}" if known else "this version of glacierseg brings none"
        raise RequestError(
            f"no weights are named {name!r}{did_you_mean(name, known)}; {listed} (see `glacierseg models`)"
        )
    return known[name]


def weights_name(model: Path | str) -> str | None:
    """Returns NAME of `weights:NAME`; None of a folder, and of a member (`weights:NAME/2`)."""
    text = str(model)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) and "/" not in text else None


def model_folder(model: Path | str) -> Path:
    """Returns a model folder: the path itself, or that of `weights:NAME` or `weights:NAME/2` (member 2).

    Raises:
        RequestError: There are no such weights, or they have several members and none is named.
    """
    text = str(model)
    if not text.startswith(PREFIX):
        return Path(model)
    name, _, member = text.removeprefix(PREFIX).partition("/")
    if member and not member.isdecimal():
        raise RequestError(f"{text}: {member!r} is no number of a member; write {PREFIX}{name}/1")
    return find_weights(name).member(int(member) if member else None)


def _card_files() -> Iterator[Path]:
    own = os.environ.get(OWN_FOLDER)
    if own and not Path(own).is_dir():
        raise RequestError(f"{own}: is no folder, and {OWN_FOLDER} names it; correct or unset the variable")
    for shelf in (SHIPPED, *([Path(own)] if own else [])):
        yield from sorted(shelf.glob(f"[!.]*/{CARD_FILE}"))


def _read(path: Path) -> Weights:
    try:
        card = WeightsCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not a card of weights; install glacierseg again, or pack the weights again"
        ) from error
    if card.name != path.parent.name:
        raise CheckpointError(f"{path}: names {card.name!r}, its folder another; give both the same name")
    return Weights(path.parent, card)
