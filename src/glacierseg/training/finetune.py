"""Starting from the weights of another training, also with other bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from glacierseg.errors import CheckpointError
from glacierseg.models.blocks import band_readers
from glacierseg.models.card import load_model


@dataclass(frozen=True)
class Inherited:
    """What a network took over from another.

    Attributes:
        kept: Bands whose weights were taken over.
        fresh: Bands that keep their fresh, small weights.
        dropped: Bands that the other network had besides.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]


def start_from(network: nn.Module, bands: Sequence[str], model_dir: Path, architecture: str) -> Inherited:
    """Copies the weights of a trained network into a fresh one of the same architecture.

    Where the first convolutions read the bands, weights go over by band name.

    Args:
        network: Fresh; its weights are replaced.
        bands: Its bands, in order.
        model_dir: Folder of the trained network.
        architecture: Name of the network, for the message.

    Raises:
        CheckpointError: The folder holds no network, one of another architecture or size, or one that has no
            band in common with the new one.
    """
    source, card = load_model(model_dir)
    if card.architecture != architecture:
        raise CheckpointError(
            f"{model_dir}: is a {card.architecture}, and {architecture} is to start from it; "
            f"give the folder of a {architecture}"
        )
    kept = tuple(band for band in bands if band in card.bands)
    if not kept:
        raise CheckpointError(
            f"{model_dir}: has none of the bands {', '.join(bands)}; "
            f"it was trained on {', '.join(card.bands)}"
        )
    old_readers, new_readers = band_readers(source), band_readers(network)
    old, new = source.state_dict(), network.state_dict()
    if old.keys() != new.keys():
        odd = min(old.keys() ^ new.keys())
        raise CheckpointError(
            f"{model_dir}: was built with other options (they differ in {odd}); "
            "give the model the same options and modalities"
        )
    for key, values in new.items():
        if key in new_readers:
            _by_band(
                values,
                [bands[i] for i in new_readers[key]],
                old[key],
                [card.bands[i] for i in old_readers[key]],
                model_dir,
            )
        elif values.shape == old[key].shape:
            values.copy_(old[key])
        else:
            raise _other_size(model_dir)
    return Inherited(
        kept,
        tuple(band for band in bands if band not in kept),
        tuple(band for band in card.bands if band not in kept),
    )


def _by_band(
    new: torch.Tensor, bands: Sequence[str], old: torch.Tensor, old_bands: Sequence[str], model_dir: Path
) -> None:
    if new.shape[0] != old.shape[0] or new.shape[2:] != old.shape[2:]:
        raise _other_size(model_dir)
    # A network that makes several maps of each band reads it several times, in the same turn each time.
    places = {turn: i for i, turn in enumerate(_in_turn(old_bands))}
    for i, turn in enumerate(_in_turn(bands)):
        if turn in places:
            new[:, i].copy_(old[:, places[turn]])


def _in_turn(bands: Sequence[str]) -> list[tuple[str, int]]:
    """Each band with how often it came before."""
    return [(band, list(bands[:i]).count(band)) for i, band in enumerate(bands)]


def _other_size(model_dir: Path) -> CheckpointError:
    return CheckpointError(f"{model_dir}: has another width than the network that is to start from it")
