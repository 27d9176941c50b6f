"""Whether the numbers of a catalogue's images are those that the product's metadata describe.

Since processing baseline 04.00 the agency adds 1000 to all digital numbers, and its metadata say so
(`BOA_ADD_OFFSET`). One catalogue subtracts it again from some images but not from others, and its flags are
wrong at times. So the metadata say what the numbers mean, and the numbers show whether they are those:
hardly any pixel has a reflectance below -0.03, and every image that is not overcast shows ground darker than
0.07: shade, water, vegetation, or snow in short-wave infrared.

Measured as the greatest share of numbers below 700 in B02, B11 and B12, in four seasons of the Himalaya at
27 m and averaged to 220 and 320 m: 1.4 to 16 % where 1000 is taken off. Where it is not, at most 0.23 % of a
band (B02 in winter) is 0 or less by the metadata, and no number is known to be below -0.03. In B02 of 556
summer chips of 2.3 km in the Alps the share is 1 % or more in 490, and never less than 0.14 %. None of these
is judged wrongly; an image with too little dark ground is not judged.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import ProductError
from glacierseg.products.product import Product

TELLING_ROLES = ("blue", "swir1", "swir2")
"""Bands in which some ground of each image is dark."""
INSTEAD = "choose another --catalogue or other dates"
"""What to do when a product of a catalogue cannot be used."""
# From these shares of negative numbers on, the offset was taken off, whatever the catalogue says. Correction
# makes blue negative in some shade, and short-wave infrared hardly ever.
_OFF_SHARES = {"blue": 0.03, "swir1": 0.01, "swir2": 0.01}
_OFF_SHARE_AS_SAID, _WHOLE_SHARE = 0.01, 0.001
# What the agency has added so far; of any other amount it is unknown what a catalogue takes off.
_USUAL = 1000
# This far below the offset, in digital numbers, reflectance is negative beyond noise and correction.
_NEGATIVE = 300
# And so far where it is noise.
_NOISE = 100
# The darkest hundredth of an image that is not overcast is darker than this, in digital numbers.
_DARK = 700
_LEAST_NUMBERS, _MOST_NUMBERS = 100, 10**6
# Where blue and short-wave infrared are all dark, in shade and water, so are the bands between: of four
# seasons at 27 m 92 to 100 % of green, red and near infrared are below 0.09 there.
_LEAST_SHADE, _SHADE_SHARE = 25, 0.5
_GREATEST = 65535
# Where the offset was taken off, darker pixels became 0; a right copy has hardly any of these.
_GONE_SHARE = 0.05


@dataclass(frozen=True)
class Judgement:
    """Whether the numbers of an image must be changed.

    Attributes:
        add: What is added to digital numbers other than 0, so that they are the agency's.
        note: What was found, for the record; None where all agree.
        least: Hardly any number other than 0 of the bands that were not judged is below this, unless the
            offset was taken off that band alone.
    """

    add: int
    note: str | None = None
    least: int = 0


@dataclass(frozen=True)
class _Darkness:
    """How dark an image is in its darkest band.

    Attributes:
        below: Share of numbers that would be negative reflectance, 0-1, greatest of the bands.
        limit: Such numbers are below this.
        is_negative: Whether more numbers would be negative than of any image that has its offset, if only a
            little so.
        is_mixed: Whether the offset was taken off one band and not another.
        darkest: First percentile of the numbers, lowest of the bands.
        is_clear: Whether the offset was taken off, whatever the catalogue says.
        lost: Share of pixels of 0 among others, 0-1, greatest of the bands.
        gone: Share of pixels of 0 where another band has a number, 0-1, greatest of the bands.
    """

    below: float
    limit: int
    is_negative: bool
    is_mixed: bool
    darkest: int
    is_clear: bool
    lost: float
    gone: float

    def __str__(self) -> str:
        return f"{self.below:.2%} of its numbers are below {self.limit}, and 1 % below {self.darkest}"


def judge_offset(
    product: Product, views: Mapping[str, NDArray[Any]], *, said: bool | None, name: str
) -> Judgement:
    """Compares metadata, numbers and the catalogue's word on the offset.

    Args:
        product: As its metadata describe it.
        views: Digital numbers of bands by role, all of the image at a coarse resolution.
        said: Whether the catalogue says that it took the offset off; None where it does not say.
        name: The image's name in messages.

    Raises:
        ProductError: Metadata and numbers contradict each other, or the numbers do not show the offset.
    """
    offsets = {band.role: band.offset / band.scale for band in product.bands}
    amounts = {role: -round(offsets[role]) for role in views}
    if not any(amounts.values()):
        return _judge_plain(product, views, name, said=said)
    amount = max(amounts.values())
    found = _darkness(views, amounts, product.nodata)
    is_usual = {-round(one) for one in offsets.values()} == {_USUAL}
    word = {True: "says that it took it off", False: "says that it left it", None: "says nothing of it"}[said]
    facts = f"its metadata give BOA_ADD_OFFSET {-amount}, the catalogue {word}, and "
    if found is not None and amount > _NEGATIVE:
        is_likely = found.below >= _OFF_SHARE_AS_SAID or found.is_negative
        is_off = found.is_clear or (said is True and is_likely)
        if is_off and is_usual and not found.is_mixed and found.gone <= _GONE_SHARE:
            lost = f"; {found.lost:.2%} are 0 there, and stay no data" if found.lost else ""
            return Judgement(
                amount, f"{facts}{found}: it was taken off, so {amount} is added to each number again{lost}"
            )
        if found.below > _WHOLE_SHARE or found.is_negative:
            how_much = "some of it was taken off, and how much" if is_off else "whether it was taken off"
            how_much = "it was taken off some bands and not others, and which" if found.is_mixed else how_much
            raise ProductError(f"{name}: {facts}{found}: {how_much} cannot be told; {INSTEAD}")
        # A hundredth of negative reflectance is more than any image has that was left as it was.
        least = amount if said else 0
        if least <= found.darkest <= amount + _DARK and amount >= _DARK:
            note = f"{facts}{found}: it was not taken off" if said else None
            return Judgement(0, note, amount - _NEGATIVE)
    if said is not None:
        shown = found or "its numbers are too few"
        raise ProductError(f"{name}: {facts}{shown}: whether it was taken off cannot be told; {INSTEAD}")
    return Judgement(0)


def require_taken_off(
    judged: Mapping[str, NDArray[Any]],
    others: Mapping[str, NDArray[Any]],
    judgement: Judgement,
    nodata: int,
    name: str,
) -> None:
    """Refuses an image whose offset was taken off the bands that were judged, and left on another.

    Args:
        judged: Digital numbers of the bands that were judged, by role.
        others: The same of the other bands.
        judgement: Of the image, with what is added.
        nodata: Number of pixels without data.
        name: The image's name in messages.

    Raises:
        ProductError: A band still has it.
    """
    limit = judgement.add - _NOISE
    views = _sampled_alike({**judged, **others})
    shade = np.all([(views[role] < _DARK) & (views[role] != nodata) for role in judged], axis=0)
    for role in others:
        numbers = views[role][shade & (views[role] != nodata)]
        share = float(np.mean(numbers < limit)) if numbers.size >= _LEAST_SHADE else 1.0
        if share < _SHADE_SHARE:
            raise ProductError(
                f"{name}: {judgement.note}; but only {share:.0%} of {role} in shade are below {limit}, as "
                f"where it was left; {INSTEAD}"
            )


def _judge_plain(
    product: Product, views: Mapping[str, NDArray[Any]], name: str, *, said: bool | None
) -> Judgement:
    """Of metadata without an offset: whether numbers look as if they had one, or as if one was taken off."""
    found = _darkness(views, dict.fromkeys(views, _USUAL), product.nodata)
    if said and found and found.gone > _GONE_SHARE:
        raise ProductError(
            f"{name}: its metadata (baseline {product.baseline}) give no BOA_ADD_OFFSET, the catalogue says "
            f"that it took one off, and {found.gone:.2%} of a band is 0 where another is not, as where "
            f"{_USUAL} was taken off; {INSTEAD}"
        )
    if found and found.below <= _WHOLE_SHARE and found.darkest <= _USUAL + _DARK:
        raise ProductError(
            f"{name}: its metadata (baseline {product.baseline}) give no BOA_ADD_OFFSET, and {found}, "
            f"as where {_USUAL} was added; {INSTEAD}"
        )
    return Judgement(0)


def _darkness(views: Mapping[str, NDArray[Any]], amounts: Mapping[str, int], nodata: int) -> _Darkness | None:
    """Measures some bands; None where none has enough numbers."""
    below, darkest, limits, lost, is_clear, is_negative, is_left = [], [], [], [], False, False, False
    for role, whole in views.items():
        # A sample of the pixels of a large image is enough.
        every = math.ceil(math.sqrt(whole.size / _MOST_NUMBERS))
        view = whole[::every, ::every]
        numbers = view[~_beside_void(view == nodata)].astype(np.int64)
        amid, numbers = numbers.size, numbers[numbers != nodata]
        if numbers.size < _LEAST_NUMBERS:
            continue
        # In some copies what would be below 0 wraps to the greatest numbers; the last one is saturation.
        wrapped = (numbers > _GREATEST - amounts[role]) & (numbers < _GREATEST)
        limits.append(max(amounts[role] - _NEGATIVE, 0))
        below.append(float(np.mean((numbers < limits[-1]) | wrapped)))
        lost.append(1 - numbers.size / amid)
        is_clear |= below[-1] >= _OFF_SHARES.get(role, 1.0)
        is_negative |= float(np.mean(numbers < amounts[role])) >= _OFF_SHARES.get(role, 1.0)
        darkest.append(int(np.percentile(numbers, 1)))
        # Dark ground that ends at the offset.
        is_dark = darkest[-1] <= amounts[role] + _DARK
        is_left |= is_dark and float(np.mean(numbers < amounts[role] - _NOISE)) <= _WHOLE_SHARE
    if not below:
        return None
    return _Darkness(
        below=max(below),
        limit=max(limits),
        is_negative=is_negative,
        is_mixed=is_clear and is_left,
        darkest=min(darkest),
        is_clear=is_clear,
        lost=max(lost),
        gone=_gone(views, nodata),
    )


def _gone(views: Mapping[str, NDArray[Any]], nodata: int) -> float:
    """The greatest share of a band without numbers where another has some, away from the rims of all."""
    empty = [view == nodata for view in _sampled_alike(views).values()]
    seen = ~_near(np.all(empty, axis=0), 3)
    return max(float(one[seen].mean()) if seen.any() else 0.0 for one in empty)


def _sampled_alike(views: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Returns views of one ground in pixels of one number, those of the coarsest or fewer."""
    most = math.isqrt(_MOST_NUMBERS)
    height, width = (
        min(most, *sides) for sides in zip(*(view.shape for view in views.values()), strict=True)
    )
    sampled = {}
    for role, view in views.items():
        rows, columns = np.arange(height) * len(view) // height, np.arange(width) * view.shape[1] // width
        sampled[role] = view[np.ix_(rows, columns)]
    return sampled


def _beside_void(empty: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns pixels in and beside wide areas without data, where coarse pixels are means of 0 and others.

    Single pixels of 0 do not count: in them a number became 0 when the offset was taken off.
    """
    return _near(~_near(~empty, 1), 3)


def _near(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    side = 2 * reach + 1
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, reach, mode="edge"), (side, side))
    return np.asarray(around.any((2, 3)))
