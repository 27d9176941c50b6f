"""Making weights of trained model folders: small, checked, with a card."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from glacierseg.choices import Storage
from glacierseg.errors import CheckpointError, DataError, OutputError, RequestError
from glacierseg.models.card import ModelCard, load_model, read_card, save_model
from glacierseg.models.registry import count_parameters
from glacierseg.raster.indices import INDICES
from glacierseg.raster.outputs import writes
from glacierseg.raster.prepare.recipes import modality_of
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import role_of
from glacierseg.raster.values import measure_values, sample_values, spread_starts
from glacierseg.raster.write import full_disk_refused, write_text
from glacierseg.weights.card import CARD_FILE, WeightsCard, WeightsFacts
from glacierseg.weights.expectation import WeightsBand, ends_of
from glacierseg.weights.shelf import Weights, megabytes

MOST_MEGABYTES = 10.0
MOST_CHANGE = 0.01
"""Of a probability, by storing weights with fewer digits."""
_MOST_WINDOWS = 24
_LEFT_OUT = ("started_from", "seconds")


@dataclass(frozen=True)
class Packed:
    """What `pack_weights` made.

    Attributes:
        weights: The weights in their place.
        largest_change: Of a probability, by storing them with fewer digits, on windows of the scenes.
        windows: How many windows that was measured on.
    """

    weights: Weights
    largest_change: float
    windows: int


def read_facts(path: Path) -> WeightsFacts:
    """Reads what people know about weights from YAML.

    Raises:
        DataError: The file cannot be read, or a fact is missing, unknown or wrong.
    """
    try:
        return WeightsFacts.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise DataError(
            f"{path}: {where}: {problem['msg'].removeprefix('Value error, ').lower()}; known facts are "
            f"{', '.join(WeightsFacts.model_fields)}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML; give the facts of the weights") from error


@writes(out_dir=None)
def pack_weights(
    model_dirs: Sequence[Path | str],
    name: str,
    facts: WeightsFacts,
    scenes: Sequence[Scene],
    out_dir: Path | str,
    *,
    storage: Storage = "float16",
) -> Packed:
    """Packs trained networks as weights under a name.

    Kernels are stored with fewer digits; means and spreads of batch norm, biases and other small tensors keep
    theirs. Values and pixel size that the networks expect are measured on the scenes.

    Args:
        model_dirs: Model folders on the same bands; several predict together, also of different kinds.
        name: What users will call them by: small letters, digits, dots and dashes.
        facts: What people know about them.
        scenes: The training scenes (a fair part of them), with the networks' bands by name.
        out_dir: Where the folder `name` goes; weights that are there are replaced.
        storage: Data type of the kernels.

    Raises:
        CheckpointError: A model folder cannot be used, or they do not belong together.
        BandError: A scene lacks bands.
        RequestError: There is no scene, the name is no name, a unit is missing, the weights are too large, or
            storing them so changes what they predict.
        OutputError: The folder cannot be written to, or is one of something else.
    """
    cards = [read_card(Path(folder)) for folder in model_dirs]
    _belong_together(model_dirs, cards, facts)
    if not scenes:
        raise RequestError("what values the weights expect is measured on training scenes; give some")
    chosen = [scene.select(cards[0].bands) for scene in scenes]
    parameters = sum(count_parameters(load_model(folder)[0]) for folder in model_dirs)
    card = _card(name, facts, cards, chosen, parameters)
    windows = _windows(chosen, facts.window_px or cards[0].patch_px)
    final = Path(out_dir) / name
    if final.exists() and not (final / CARD_FILE).is_file():
        raise OutputError(f"{final}: is there and holds no weights; choose another name or folder")
    if packed := next(
        (own for own in model_dirs if final.resolve() in Path(own, "_").resolve().parents), None
    ):
        raise RequestError(f"{packed}: lies in {final}, which the new weights replace; choose another name")
    part = Path(out_dir) / f".{name}.part-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        with full_disk_refused(part):
            change = _store(model_dirs, part, windows, storage)
            write_text(part / CARD_FILE, card.model_dump_json(indent=2) + "\n")
        _check_size(part, name)
        if not change <= MOST_CHANGE:  # nor NaN
            raise RequestError(
                f"{name}: stored as {storage}, a probability changes by {change:.3f}, and {MOST_CHANGE:g} is "
                "the most; store them as float32"
            )
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)
    except OSError as error:
        raise OutputError(f"{final}: cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Packed(Weights(final, card), change, len(windows))


def _belong_together(folders: Sequence[Path | str], cards: Sequence[ModelCard], facts: WeightsFacts) -> None:
    if not cards:
        raise RequestError("there is nothing to pack; give one model folder or more")
    first = cards[0]
    for folder, card in zip(folders, cards, strict=True):
        if card.bands != first.bands:
            raise CheckpointError(
                f"{folder}: has other bands ({', '.join(card.bands)}) than {folders[0]} "
                f"({', '.join(first.bands)}); networks are packed together when they see the same bands"
            )
        if card.patch_px != first.patch_px and facts.window_px is None:
            raise CheckpointError(
                f"{folder}: was trained on patches of {card.patch_px} px and {folders[0]} on "
                f"{first.patch_px} px; say with `window_px:` in the facts in which they predict together"
            )
    calibration, where = (
        (first.calibration, folders[0]) if len(cards) == 1 else (facts.calibration, "the facts")
    )
    if calibration is not None and bool(calibration.get("symmetries")) != facts.symmetries:
        made, said = ("with", "false") if calibration.get("symmetries") else ("without", "true")
        raise RequestError(
            f"{where}: the calibration is of probabilities {made} the eight symmetries, and `symmetries` in "
            f"the facts is {said}; calibrate what the weights predict, or change that"
        )


def _card(
    name: str, facts: WeightsFacts, cards: Sequence[ModelCard], scenes: Sequence[Scene], parameters: int
) -> WeightsCard:
    values = measure_values(np.concatenate([sample_values(scene) for scene in scenes], axis=1))
    if values is None:
        raise RequestError("the scenes hold next to no data; give the training scenes")
    sides_m = [float(np.sqrt(np.prod(scene.grid.pixel_size_m))) for scene in scenes]
    bands = [
        WeightsBand(
            name=band,
            role=facts.roles.get(band) or role_of(band, facts.sensor),
            unit=_unit(band, facts),
            values=own,
        )
        for band, own in zip(cards[0].bands, values, strict=True)
    ]
    try:
        return WeightsCard(
            **facts.model_dump(),
            name=name,
            parameters=parameters,
            bands=tuple(bands),
            pixel_m=round(float(np.median(sides_m)), 2),
            training_dates=tuple(sorted({day for card in cards for day in card.training_dates})),
            training_latitudes=ends_of(degree for card in cards for degree in card.training_latitudes),
        )
    except ValidationError as error:
        raise RequestError(
            f"{name!r} is no name for weights; use small letters, digits, dots and dashes"
        ) from error


def _unit(band: str, facts: WeightsFacts) -> str:
    if modality_of(band) in {"terrain", "radar", "motion"} and band not in facts.units:
        raise RequestError(f"{band} is not in {facts.unit}; give its unit in `units:` of the facts")
    return facts.units.get(band) or ("index" if band in INDICES else facts.unit)


def _store(
    model_dirs: Sequence[Path | str],
    part: Path,
    windows: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]],
    storage: Storage,
) -> float:
    """Writes the members and returns the largest change of the mean probability."""
    import torch  # noqa: PLC0415

    before = after = torch.zeros(())
    for number, folder in enumerate(model_dirs, start=1):
        own = part if len(model_dirs) == 1 else part / f"member-{number}"
        network, card = load_model(folder)
        training = {key: value for key, value in card.training.items() if key not in _LEFT_OUT}
        # Each member was calibrated by itself, which says nothing of their mean.
        calibration = card.calibration if len(model_dirs) == 1 else None
        save_model(
            own,
            network,
            card.model_copy(update={"training": training, "calibration": calibration}),
            storage=storage,
        )
        before = before + _probabilities(network, card, windows)
        after = after + _probabilities(load_model(own)[0], card, windows)
    return float((after - before).abs().max()) / len(model_dirs)


def _probabilities(
    network: Any, card: ModelCard, windows: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]
) -> Any:
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        images = [torch.from_numpy(card.scaling.apply(values, valid))[None] for values, valid in windows]
        return torch.cat([network(image).softmax(1)[:, -1] for image in images])


def _windows(scenes: Sequence[Scene], side_px: int) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Reads windows with data, from as many of the scenes as there may be windows."""
    places = np.linspace(0, len(scenes) - 1, min(len(scenes), _MOST_WINDOWS)).round().astype(int)
    per_scene = max(1, _MOST_WINDOWS // len(places))
    found = []
    for place in places:
        scene, own = scenes[place], 0
        most = int(np.ceil(np.sqrt(per_scene)))
        rows, columns = (spread_starts(length, side_px, most) for length in scene.grid.shape)
        with scene.open() as reader:
            for row, column in product(rows, columns):
                values, valid = reader.read(row, column, side_px, side_px)
                if valid.any() and own < per_scene:
                    found.append((values, valid))
                    own += 1
    return found


def _check_size(folder: Path, name: str) -> None:
    size = megabytes(folder)
    if size > MOST_MEGABYTES:
        raise RequestError(
            f"{name}: takes {size:.1f} MB, and {MOST_MEGABYTES:g} MB is the most; pack fewer members or "
            "narrower networks, or store them as float16"
        )
