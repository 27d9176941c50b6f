"""What is done to patches while training: the eight symmetries of a square, and changes of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.facts import ranges_of
from glacierseg.raster.scene import Scene
from glacierseg.raster.units import BRIGHTEST, DARKEST
from glacierseg.raster.values import measure_values, sample_values

EAST, NORTH, ANGLE = "aspect_sin", "aspect_cos", "aspect"
"""Bands that are a direction on the ground, as `raster.terrain` makes them."""
VELOCITY = ("velocity_x", "velocity_y")
"""Bands that together are a velocity along the grid's x and y, see `raster.prepare.layers`."""


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
class Vector:
    """Two bands that together are a vector on the ground; one alone where the other is missing.

    Attributes:
        east: Position of the band with the eastward share, None when there is none.
        north: Position of the band with the northward share, None when there is none.
        zeros: Value that stands for zero, in the eastward and in the northward band.
        units: Value of one unit of both bands, so that they can be exchanged; None where it is not known.
    """

    east: int | None
    north: int | None
    zeros: tuple[float, float] = (0.0, 0.0)
    units: tuple[float, float] | None = (1.0, 1.0)

    def allows(self, symmetry: Symmetry) -> bool:
        """Whether its bands can be turned as a symmetry asks."""
        if self.units is None:
            return symmetry == SYMMETRIES[0]
        return not symmetry.mixes_axes or (self.east is None) == (self.north is None)

    def turn(self, values: NDArray[np.float32], symmetry: Symmetry) -> None:
        """Changes its bands of `(..., C, H, W)` in place."""
        places, units = (self.east, self.north), self.units or (1.0, 1.0)
        shares = [
            np.zeros((), np.float32)
            if place is None
            else (values[..., place, :, :] - np.float32(zero)) / np.float32(unit)
            for place, zero, unit in zip(places, self.zeros, units, strict=True)
        ]
        turned = symmetry.turn_direction(*shares)
        for place, zero, unit, share in zip(places, self.zeros, units, turned, strict=True):
            if place is not None:
                values[..., place, :, :] = share * np.float32(unit) + np.float32(zero)


@dataclass(frozen=True)
class Angle:
    """A band that is a direction in degrees clockwise from north.

    Attributes:
        place: Its position.
        north: Value that stands for 0 degrees.
        circle: How much more stands for 360 degrees.
        bounds: Least and greatest value of levels; None where there are none.
    """

    place: int
    north: float = 0.0
    circle: float = 360.0
    bounds: tuple[float, float] | None = None

    def turn(self, values: NDArray[np.float32], symmetry: Symmetry) -> None:
        """Changes the band of `(..., C, H, W)` in place."""
        shares = (values[..., self.place, :, :] - np.float32(self.north)) / np.float32(self.circle)
        if symmetry.flip:
            shares = -shares
        values[..., self.place, :, :] = self._stored(shares - np.float32(symmetry.quarter_turns / 4))

    def as_vector(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Returns `(..., C + 2)`, the sine and the cosine behind the bands of `(..., C)`."""
        turns = (values[..., self.place].astype(np.float32) - self.north) * (2 * np.pi / self.circle)
        return np.concatenate([values, np.sin(turns)[..., None], np.cos(turns)[..., None]], axis=-1)

    def from_vector(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns `(..., C)` with the direction of the sine and the cosine in the last two bands."""
        turns = np.arctan2(values[..., -2], values[..., -1]) / (2 * np.pi)
        values[..., self.place] = self._stored(turns.astype(np.float32))
        return np.ascontiguousarray(values[..., :-2])

    def _stored(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        stored: NDArray[np.float32] = shares % 1 * np.float32(self.circle) + np.float32(self.north)
        return stored if self.bounds is None else np.clip(stored, *self.bounds)


@dataclass(frozen=True)
class Directions:
    """The bands of a scene that are directions, and must turn when a patch turns.

    Attributes:
        vectors: Pairs of bands.
        angles: Bands in degrees.
    """

    vectors: tuple[Vector, ...] = ()
    angles: tuple[Angle, ...] = ()

    @classmethod
    def of(cls, scene: Scene) -> "Directions":
        """Finds them by name, and what their values mean.

        Levels of `prepare normalize` are known by its ranges. Other levels are taken for 0-255: those of
        `aspect` for the whole circle, those of `aspect_sin` and `aspect_cos` for -1 to 1. Of velocity they
        mean nothing that could be turned.

        Raises:
            RasterError: The files cannot be read.
        """
        places = {band.name: place for place, band in enumerate(scene.bands) if not band.is_constant}
        if places.keys().isdisjoint({EAST, NORTH, ANGLE, *VELOCITY}):
            return cls()
        ranges = ranges_of(scene.bands) or {}
        in_levels = {band.name for band in scene.bands if band.dtype == "uint8"}
        vectors = []
        if EAST in places or NORTH in places:
            zero = 128.0 if in_levels & {EAST, NORTH} & places.keys() else 0.0
            vectors.append(Vector(places.get(EAST), places.get(NORTH), (zero, zero)))
        if velocity := [name for name in VELOCITY if name in places]:
            known = [
                _zero_and_unit(ranges.get(name)) if name in in_levels else (0.0, 1.0) for name in VELOCITY
            ]
            is_known = all(known[VELOCITY.index(name)] for name in velocity)
            zeros, units = zip(*(one or (0.0, 1.0) for one in known), strict=True)
            east, north = (places.get(name) for name in VELOCITY)
            vectors.append(Vector(east, north, zeros, units if is_known else None))
        angles = (_angle(scene, places[ANGLE], ranges.get(ANGLE)),) if ANGLE in places else ()
        return cls(tuple(vectors), angles)

    @property
    def exist(self) -> bool:
        """Whether there is any such band."""
        return bool(self.vectors or self.angles)

    @property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Those that can be drawn: with one share of a direction alone, none that needs the other."""
        return tuple(one for one in SYMMETRIES if all(vector.allows(one) for vector in self.vectors))

    def turn(self, values: NDArray[np.float32], symmetry: Symmetry) -> NDArray[np.float32]:
        """Changes the values of the direction bands as a symmetry asks, in place, before it moves pixels.

        Args:
            values: `(..., C, H, W)` in the scene's units.
            symmetry: One of `symmetries`.

        Returns:
            The same array.
        """
        for vector in self.vectors:
            vector.turn(values, symmetry)
        for angle in self.angles:
            angle.turn(values, symmetry)
        return values


def _zero_and_unit(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """Returns the level of zero and the levels of one unit; None where they are not known."""
    if bounds is None or bounds[0] == bounds[1]:
        return None
    unit = (BRIGHTEST - DARKEST) / (bounds[1] - bounds[0])
    return DARKEST - bounds[0] * unit, unit


def _angle(scene: Scene, place: int, bounds: tuple[float, float] | None) -> Angle:
    band = scene.bands[place]
    if band.dtype == "uint8" and (known := _zero_and_unit(bounds)):
        return Angle(place, known[0], 360 * known[1], (DARKEST, BRIGHTEST))
    found = measure_values(sample_values(scene.select([band.name])))
    # Levels may be stored as any type. Degrees end at 360, and hardly a scene has no slope to the north-west.
    is_level = band.dtype == "uint8" or (found and found[0].low < 5 and 250 < found[0].high <= 255)
    return Angle(place, 0.0, 255.0, (0, 255)) if is_level else Angle(place)


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
        modality_dropout: Probability that a modality becomes zero; never all bands.
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

    def may_miss(self, channels: int) -> tuple[int, ...]:
        """Returns the positions of the bands, of so many, that training shows a network how to do without."""
        alone = len(self.modalities) == 1 and len(self._in_modalities) == channels
        return () if alone or not self.modality_dropout else self._in_modalities

    @property
    def _in_modalities(self) -> tuple[int, ...]:
        return tuple(sorted({place for places in self.modalities.values() for place in places}))

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
            if gone.all() and len(self._in_modalities) == channels:
                gone[rng.integers(len(gone))] = False
            for positions, out in zip(self.modalities.values(), gone, strict=True):
                dropped[list(positions)] = out
        if self.band_dropout:
            chances = rng.random(channels) < self.band_dropout
            if not (dropped | chances).all():
                dropped |= chances
        return dropped
