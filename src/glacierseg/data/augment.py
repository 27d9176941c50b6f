"""What is done to patches while training: the eight symmetries of a square, and changes of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

EAST, NORTH = "aspect_sin", "aspect_cos"
"""Bands that together are a direction on the ground, as `raster.terrain` makes them."""


@dataclass(frozen=True)
class Symmetry:
    """A turn by a multiple of 90 degrees after an optional flip.

    Attributes:
        flip: Mirror left and right first.
        quarter_turns: Counter-clockwise turns by 90 degrees, 0 to 3.
    """

    flip: bool
    quarter_turns: int

    @classmethod
    def draw(cls, rng: np.random.Generator, among: "Sequence[Symmetry] | None" = None) -> "Symmetry":
        """Draws one of the eight, or of some, at random."""
        choice = among or SYMMETRIES
        return choice[int(rng.integers(len(choice)))]

    @property
    def mixes_axes(self) -> bool:
        """Whether east and west become north and south."""
        return self.quarter_turns % 2 == 1

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turns an array `(..., H, W)` over its last two axes."""
        if self.flip:
            array = array[..., ::-1]
        return np.rot90(array, self.quarter_turns, axes=(-2, -1))

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turns an array `(..., H, W)` back."""
        array = np.rot90(array, -self.quarter_turns, axes=(-2, -1))
        return array[..., ::-1] if self.flip else array

    def turn_direction(self, east: Any, north: Any) -> tuple[Any, Any]:
        """Turns the eastward and northward shares of a direction as `apply` turns the ground."""
        if self.flip:
            east = -east
        for _ in range(self.quarter_turns):
            east, north = -north, east
        return east, north


SYMMETRIES = tuple(Symmetry(flip, turns) for flip in (False, True) for turns in range(4))


@dataclass(frozen=True)
class Directions:
    """The bands of a scene that are directions, and must turn when a patch turns.

    Attributes:
        east: Position of the band with the eastward share, None when there is none.
        north: Position of the band with the northward share, None when there is none.
        centre: Value of those bands that stands for zero.
    """

    east: int | None = None
    north: int | None = None
    centre: float = 0.0

    @classmethod
    def among(cls, bands: Sequence[str], dtypes: Sequence[str]) -> "Directions":
        """Finds them by name.

        Args:
            bands: Names of all bands.
            dtypes: Their types as stored: bytes are levels of `prepare normalize`, 1 to 255, anything else
                shares from -1 to 1.
        """
        places = {name: position for position, name in enumerate(bands)}
        found = [places[name] for name in (EAST, NORTH) if name in places]
        centre = 128.0 if any(dtypes[position] == "uint8" for position in found) else 0.0
        return cls(places.get(EAST), places.get(NORTH), centre)

    @property
    def exist(self) -> bool:
        """Whether there is any such band."""
        return self.east is not None or self.north is not None

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Those that can be drawn: with one share of a direction alone, none that needs the other."""
        if (self.east is None) == (self.north is None):
            return SYMMETRIES
        return tuple(symmetry for symmetry in SYMMETRIES if not symmetry.mixes_axes)

    def turn(self, values: NDArray[np.float32], symmetry: Symmetry) -> NDArray[np.float32]:
        """Changes the values of the direction bands as a symmetry asks, in place, before it moves pixels.

        Args:
            values: `(..., C, H, W)` in the scene's units.
            symmetry: One of `symmetries`.

        Returns:
            The same array.
        """
        nothing = np.zeros((), np.float32)
        shares = [
            nothing if place is None else values[..., place, :, :] - np.float32(self.centre)
            for place in (self.east, self.north)
        ]
        for place, turned in zip((self.east, self.north), symmetry.turn_direction(*shares), strict=True):
            if place is not None:
                values[..., place, :, :] = turned + np.float32(self.centre)
        return values


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training patch; the default is the symmetries and a shift.

    Attributes:
        symmetries: Flip and turn.
        zoom: A patch shows a square of ground between `1 / (1 + zoom)` and `1 + zoom` times as wide as it is.
        gamma: Each band's values, as shares of the span from three spreads below to three above its mean, get
            an exponent between `1 / (1 + gamma)` and `1 + gamma`.
        brightness: Light over a whole patch: all bands are shifted by one normal number of spreads with this
            standard deviation, and stretched by one factor, whose logarithm has half of it.
        noise: Standard deviation of normal noise, in spreads of a band.
        band_dropout: Probability that a band becomes zero, its mean.
        modality_dropout: Probability that a modality becomes zero; never all of them.
        modalities: Positions of the bands of each modality.
    """

    symmetries: bool = True
    zoom: float = 0.0
    gamma: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    band_dropout: float = 0.0
    modality_dropout: float = 0.0
    modalities: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def changes_values(self) -> bool:
        """Whether `change` does anything."""
        return bool(self.gamma or self.brightness or self.noise or self.band_dropout or self.modality_dropout)

    def change(
        self, image: NDArray[np.float32], valid: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Changes the values of a scaled patch, in place.

        Args:
            image: `(C, H, W)`, mean 0 and spread 1 in every band.
            valid: `(H, W)`; pixels without data stay 0.
            rng: Decides.

        Returns:
            The same array.
        """
        channels = len(image)
        if self.gamma:
            most = np.log1p(self.gamma)
            exponents = np.exp(rng.uniform(-most, most, channels)).astype(np.float32)
            shares = np.clip(image / 6 + np.float32(0.5), 0, 1)
            # Beyond three spreads the curve would leave its span; there values keep their distance to it.
            beyond = image / 6 + np.float32(0.5) - shares
            image[:] = (shares ** exponents[:, None, None] + beyond - np.float32(0.5)) * 6
        if self.brightness:
            image *= np.float32(np.exp(rng.normal(0, self.brightness / 2)))
            image += np.float32(rng.normal(0, self.brightness))
        if self.noise:
            image += np.float32(self.noise) * rng.standard_normal(image.shape, np.float32)
        image[self._dropped(channels, rng)] = 0
        if self.gamma or self.brightness or self.noise:
            image[:, ~valid] = 0
        return image

    def _dropped(self, channels: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        dropped = np.zeros(channels, bool)
        if self.modality_dropout and self.modalities:
            gone = rng.random(len(self.modalities)) < self.modality_dropout
            if gone.all():
                gone[rng.integers(len(gone))] = False
            for positions, out in zip(self.modalities.values(), gone, strict=True):
                dropped[list(positions)] = out
        if self.band_dropout:
            chances = rng.random(channels) < self.band_dropout
            if not (dropped | chances).all():
                dropped |= chances
        return dropped
