"""`card.json`: what weights were trained on, what they expect of a scene, how good they were found to be."""

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from glacierseg._version import __version__
from glacierseg.errors import RequestError
from glacierseg.raster.sensors import parse_sensor
from glacierseg.weights.expectation import BandRole, Section, WeightsBand, Words

CARD_FILE = "card.json"
_LONGEST_WORD = 10
"""Characters that a table of all weights has for the terms of use."""


def _known_sensor(value: str) -> str:
    try:
        return parse_sensor(value)
    except RequestError as error:
        raise ValueError(str(error)) from error


def _terms(value: str) -> str:
    words = value.split()
    if len(words) < 2 or len(value.splitlines()) > 1 or len(words[0]) > _LONGEST_WORD:
        raise ValueError(
            f"{value!r} is no line such as 'research and comparison only', whose first word, of at most "
            f"{_LONGEST_WORD} characters, stands in tables"
        )
    return value


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Sensor = Annotated[str, AfterValidator(_known_sensor)]
Terms = Annotated[str, AfterValidator(_terms)]


class Score(Section):
    """A measured score.

    Attributes:
        metric: What was measured: `glacier IoU`.
        value: The score.
        low: Lower end of its 90 % interval, from blocks of ground; None where none was made.
        high: Upper end.
        ground: On which ground, in words; none that was trained on.
        how: With which settings, in words: `single network, raw mask`.
    """

    metric: Words
    value: float
    low: float | None = None
    high: float | None = None
    ground: Words
    how: str = ""

    @model_validator(mode="after")
    def _within_its_interval(self) -> "Score":
        if (self.low is None) != (self.high is None):
            raise ValueError("has one end of an interval only; give both `low` and `high`, or none")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value:g} lies outside its interval, {self.low:g} to {self.high:g}")
        return self

    @property
    def in_words(self) -> str:
        """The score with its interval, ground and settings."""
        interval = "" if self.low is None else f" ({self.low:.3f}-{self.high:.3f})"
        how = f", {self.how}" if self.how else ""
        return f"{self.metric} {self.value:.3f}{interval} on {self.ground}{how}"


class WeightsFacts(Section):
    """What people know about weights and no file says: the part of the card that is written by hand.

    Attributes:
        summary: What they are for, in one line.
        trained_on: The ground, its dates and the truth, in words.
        sensor: The sensor of the training scenes.
        unit: Of the spectral bands, in words.
        units: Of single bands, by name, where they differ from `unit`.
        roles: Parts of the spectrum by band name, where the name does not say (`glacierseg.raster.sensors`).
        terms: What may be done with the weights, in one line; its first word stands in tables.
        data_licence: Terms of the data that they were trained on.
        attribution: Who has to be named.
        scores: What was measured.
        expected: What to expect on ground where nobody has scored them, a line each.
        limits: What they are not for and where they are known to fail, a line each.
        threshold: Probability from which a pixel is glacier, unless the user says otherwise.
        window_px: Side of the windows to predict in, unless the user says otherwise; None for the training
            patch, which then is the same for all members.
        symmetries: Whether to predict the mean over the eight symmetries, which takes up to eight times as
            long, unless the user says otherwise.
        calibration: Of the mean of several members, as `predict.calibration` writes it, predicted as
            `symmetries` says. A single network has its own in its model card.
    """

    summary: Words
    trained_on: Words
    sensor: Sensor
    unit: Words
    units: dict[str, Words] = Field(default_factory=dict)
    roles: dict[str, BandRole] = Field(default_factory=dict)
    terms: Terms
    data_licence: Words
    attribution: Words
    scores: Annotated[tuple[Score, ...], Field(min_length=1)]
    expected: tuple[Words, ...] = ()
    limits: Annotated[tuple[Words, ...], Field(min_length=1)]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    window_px: Annotated[int, Field(gt=0)] | None = None
    symmetries: bool = False
    calibration: dict[str, Any] | None = None


class WeightsCard(WeightsFacts):
    """The whole card: the facts, and what was measured when the weights were packed.

    Attributes:
        terms: As in the facts; empty in cards of earlier versions.
        name: What users call them by; the name of their folder.
        parameters: Of all its networks together.
        bands: What the network reads, in its order.
        pixel_m: Side of the training scenes' pixels on the ground.
        training_dates: Days of the training scenes, as far as their files have them.
        training_latitudes: Of the southernmost and northernmost of these scenes, in degrees.
        version: glacierseg's version that packed them.
    """

    terms: Annotated[str, AfterValidator(lambda value: value and _terms(value))] = ""
    name: Name
    parameters: Annotated[int, Field(gt=0)]
    bands: Annotated[tuple[WeightsBand, ...], Field(min_length=1)]
    pixel_m: Annotated[float, Field(gt=0)]
    training_dates: tuple[date, ...] = ()
    training_latitudes: tuple[float, ...] = ()
    version: str = __version__

    @property
    def terms_word(self) -> str:
        """The first word of `terms`; a dash where an earlier version packed them."""
        return (self.terms or "-").split()[0].rstrip(",;:")

    def __repr__(self) -> str:
        bands = ", ".join(band.in_words for band in self.bands)
        score = self.scores[-1]
        return (
            f"WeightsCard({self.name}: {self.summary}; bands {bands}; {self.sensor}, {self.pixel_m:g} m, "
            f"{self.unit}; {score.metric} {score.value:.3f})"
        )

    __str__ = __repr__
