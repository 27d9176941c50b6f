"""Offsets by metadata, numbers and the catalogue's word."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from glacierseg.catalogues.offsets import judge_offset, require_taken_off
from glacierseg.errors import ProductError
from glacierseg.products.product import Product, ProductBand

Views = dict[str, NDArray[Any]]
ROLES = ("blue", "swir1", "swir2")


def product(offset: float = -1000, baseline: str = "05.11", **own: float) -> Product:
    """A product by its metadata, of which bands may have offsets of their own."""
    return Product(
        source=Path("S2B.SAFE"),
        name="S2B",
        sensor="sentinel2",
        acquired=date(2024, 9, 30),
        baseline=baseline,
        tile="T45RVL",
        bands=tuple(ProductBand(role, role, 1.0, own.get(role, offset)) for role in ROLES),
        classes="SCL",
        classes_kind="scl",
        require_whole=lambda _: None,
    )


def ground(seed: int = 0, darkest: float = 0.01, side: int = 120) -> Views:
    """Reflectance x 10000 of ground of all kinds."""
    rng = np.random.default_rng(seed)
    return {
        role: (10_000 * (darkest + rng.gamma(2, 0.1, (side, side)))).round().astype(np.int64)
        for role in ROLES
    }


def as_numbers(views: Views, added: int, rim: int = 0) -> Views:
    """What an image holds of ground, with columns beyond the swath."""
    found = {role: (view + added).clip(0, 65535).astype(np.uint16) for role, view in views.items()}
    for view in found.values():
        view[:, :rim] = 0
    return found


@pytest.mark.parametrize("said", [True, False, None])
def test_numbers_as_delivered_stay_whatever_the_catalogue_says(said: bool | None) -> None:
    found = judge_offset(product(), as_numbers(ground(), 1000), said=said, name="S2B")
    assert found.add == 0
    assert (found.note is None) == (said is not True)
    if found.note:
        assert "BOA_ADD_OFFSET -1000, the catalogue says that it took it off" in found.note
        assert "it was not taken off" in found.note


@pytest.mark.parametrize("said", [True, False, None])
def test_an_offset_that_was_taken_off_is_added_again_whatever_the_catalogue_says(said: bool | None) -> None:
    found = judge_offset(product(), as_numbers(ground(), 0, rim=40), said=said, name="S2B")
    assert found.add == 1000
    assert found.note
    assert "so 1000 is added to each number again" in found.note


@pytest.mark.parametrize("said", [True, False, None])
def test_numbers_of_before_the_offset_are_not_called_shifted(said: bool | None) -> None:
    old = product(offset=0, baseline="03.01")
    assert judge_offset(old, as_numbers(ground(), 0), said=said, name="S2B").add == 0
    # Of an overcast image nothing can be told, and nothing is said to have changed it.
    assert judge_offset(old, as_numbers(ground(darkest=0.4), 0), said=said, name="S2B").add == 0


def test_numbers_with_an_offset_that_the_metadata_do_not_have_are_refused_with_both() -> None:
    with pytest.raises(ProductError) as caught:
        judge_offset(product(offset=0, baseline="03.01"), as_numbers(ground(), 1000), said=None, name="S2B")
    message = str(caught.value)
    assert message.startswith("S2B: its metadata (baseline 03.01) give no BOA_ADD_OFFSET, and 0.00% of its")
    assert "as where 1000 was added" in message


def test_an_overcast_image_is_believed_only_where_no_catalogue_changes_numbers() -> None:
    overcast = as_numbers(ground(darkest=0.4), 1000)
    assert judge_offset(product(), overcast, said=None, name="S2B").add == 0
    for said in (True, False):
        with pytest.raises(
            ProductError, match="whether it was taken off cannot be told; choose another --catalogue"
        ) as caught:
            judge_offset(product(), overcast, said=said, name="S2B")
        assert "BOA_ADD_OFFSET -1000" in str(caught.value)
        assert "0.00% of its numbers are below 700, and 1 % below 5" in str(caught.value)


def test_some_dark_numbers_are_neither_enough_nor_too_few() -> None:
    views = as_numbers(ground(darkest=0.02), 1000)
    views["blue"].ravel()[100:172] = 300
    with pytest.raises(ProductError, match=r"0\.50% of its numbers are below 700.*cannot be told"):
        judge_offset(product(), views, said=None, name="S2B")


def test_blue_that_correction_makes_negative_in_shade_is_no_offset_that_was_taken_off() -> None:
    views = as_numbers(ground(darkest=0.02), 1000)
    views["blue"].ravel()[:288] = 600
    for said in (False, None):
        with pytest.raises(ProductError, match=r"2\.00% of its numbers are below 700.*cannot be told"):
            judge_offset(product(), views, said=said, name="S2B")
    for role in ("swir1", "swir2"):
        views[role].ravel()[:288] = 600
    assert judge_offset(product(), views, said=False, name="S2B").add == 1000


@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize("band", ROLES)
@pytest.mark.parametrize("added", [0, 1000])
def test_an_offset_that_was_taken_off_some_bands_only_is_refused(
    added: int, band: str, said: bool | None
) -> None:
    views = as_numbers(ground(), 1000 - added) | {band: as_numbers(ground(), added)[band]}
    with pytest.raises(ProductError, match=r"it was taken off some bands and not others"):
        judge_offset(product(), views, said=said, name="S2B")


def test_bright_ground_whose_offset_was_taken_off_is_not_taken_for_dark_ground_with_it() -> None:
    # Nothing is darker than 0.08, so the numbers are from 800: a little below 0 if they had the offset.
    views = {role: view.clip(800, None) for role, view in ground(darkest=0.05).items()}
    shifted = as_numbers(views, 0)
    assert judge_offset(product(), shifted, said=True, name="S2B").add == 1000
    for said in (False, None):
        with pytest.raises(ProductError, match=r"0\.00% of its numbers are below 700.*cannot be told"):
            judge_offset(product(), shifted, said=said, name="S2B")
    few = as_numbers(ground(darkest=0.02), 1000)
    few["blue"].ravel()[:288] = 850
    assert judge_offset(product(), few, said=None, name="S2B").add == 0
    with pytest.raises(ProductError, match=r"and 1 % below 850: whether it was taken off cannot be told"):
        judge_offset(product(), few, said=True, name="S2B")


def test_rims_of_a_swath_tell_nothing() -> None:
    views = as_numbers(ground(), 1000, rim=40)
    for view in views.values():
        # Coarse pixels that are means of numbers and of no data.
        view[:, 40:42] = 400
    assert judge_offset(product(), views, said=False, name="S2B").add == 0


def test_pixels_that_a_copy_lost_are_told() -> None:
    views = as_numbers(ground(), 0, rim=40)
    views["blue"][5:100:9, 50:110:7] = 0
    share = np.mean(views["blue"][:, 42:] == 0)
    found = judge_offset(product(), views, said=True, name="S2B")
    assert found.note
    assert found.note.endswith(f"; {share:.2%} are 0 there, and stay no data")


@pytest.mark.parametrize("said", [True, False, None])
def test_more_than_the_offset_cannot_be_taken_off(said: bool | None) -> None:
    twice = as_numbers(ground(), -1000)
    with pytest.raises(ProductError, match="some of it was taken off, and how much cannot be told"):
        judge_offset(product(), twice, said=said, name="S2B")


def test_an_offset_that_was_never_there_cannot_be_taken_off() -> None:
    old, views = product(offset=0, baseline="02.14"), as_numbers(ground(), -1000)
    # Dark ground lies in wide areas, and coarse bands have pixels of their own.
    views["blue"] = views["blue"].repeat(2, 0).repeat(2, 1)
    views["blue"][50:150, 50:150] = 0
    share = max(np.mean(view == 0) for view in views.values())
    with pytest.raises(ProductError, match=r"\(baseline 02\.14\) give no .* that it took one off") as caught:
        judge_offset(old, views, said=True, name="S2B")
    assert share > 0.05
    assert "of a band is 0 where another is not" in str(caught.value)


def test_numbers_that_ran_over_below_zero_show_that_it_was_taken_off() -> None:
    bright = ground(darkest=0.2)
    views = as_numbers(bright, 0)
    views["swir1"][:3] = 65_100
    assert judge_offset(product(), views, said=False, name="S2B").add == 1000
    saturated = as_numbers(ground(), 1000)
    saturated["swir1"][:3] = 65_535
    assert judge_offset(product(), saturated, said=False, name="S2B").add == 0


def test_too_few_numbers_tell_nothing() -> None:
    tiny = {role: view[:9, :9] for role, view in as_numbers(ground(), 0).items()}
    assert judge_offset(product(), tiny, said=None, name="S2B").add == 0
    with pytest.raises(ProductError, match="its numbers are too few"):
        judge_offset(product(), tiny, said=False, name="S2B")


@pytest.mark.parametrize("offset", [-1200, -700])
def test_another_offset_stays_and_cannot_be_restored(offset: int) -> None:
    odd = product(offset)
    assert judge_offset(odd, as_numbers(ground(darkest=0.001), -offset), said=None, name="S2B").add == 0
    with pytest.raises(ProductError, match=rf"BOA_ADD_OFFSET {offset}.*how much cannot be told"):
        judge_offset(odd, as_numbers(ground(), 0), said=True, name="S2B")


def test_bands_with_offsets_of_their_own_cannot_be_restored() -> None:
    with pytest.raises(ProductError, match="how much cannot be told"):
        judge_offset(product(swir2=-900), as_numbers(ground(), 0), said=True, name="S2B")


def test_a_small_offset_cannot_be_told() -> None:
    small = product(-100)
    assert judge_offset(small, as_numbers(ground(), 0), said=None, name="S2B").add == 0
    with pytest.raises(ProductError, match="BOA_ADD_OFFSET -100, the catalogue says that it left it"):
        judge_offset(small, as_numbers(ground(), 0), said=False, name="S2B")


def averaged(view: NDArray[Any], side: int) -> NDArray[Any]:
    height, width = (size // side * side for size in view.shape)
    cells = view[:height, :width].reshape(height // side, side, width // side, side)
    return np.asarray(cells.mean((1, 3)).round())


@pytest.mark.parametrize("coarser", [1, 8, 12])
@pytest.mark.parametrize("season", ["spring", "summer", "autumn", "winter"])
def test_real_ground_of_every_season_tells(data_dir: Path, season: str, coarser: int) -> None:
    with rasterio.open(data_dir / "khumbu_sentinel2" / f"khumbu_s2_{season}_2024.tif") as file:
        named = dict(zip(file.descriptions, 10_000 * file.read().astype(float), strict=True))
    bands = {"blue": "B02", "swir1": "B11", "swir2": "B12"}
    views = {role: averaged(named[band].round(), coarser).astype(np.int64) for role, band in bands.items()}
    assert judge_offset(product(), as_numbers(views, 1000), said=False, name="S2B").add == 0
    assert judge_offset(product(), as_numbers(views, 0), said=True, name="S2B").add == 1000
    if (season, coarser) == ("spring", 12):
        # Dark in blue alone, and there in no more than 2.3 %.
        with pytest.raises(ProductError, match=r"2\.27% of its numbers are below 700"):
            judge_offset(product(), as_numbers(views, 0), said=False, name="S2B")
    else:
        assert judge_offset(product(), as_numbers(views, 0), said=False, name="S2B").add == 1000
    old = product(offset=0, baseline="03.01")
    assert judge_offset(old, as_numbers(views, 0), said=False, name="S2B").add == 0
    with pytest.raises(ProductError, match="as where 1000 was added"):
        judge_offset(old, as_numbers(views, 1000), said=False, name="S2B")


@pytest.mark.parametrize("season", ["spring", "summer", "autumn", "winter"])
def test_a_band_that_kept_its_offset_beside_others_is_refused_on_real_ground(
    data_dir: Path, season: str
) -> None:
    with rasterio.open(data_dir / "khumbu_sentinel2" / f"khumbu_s2_{season}_2024.tif") as file:
        named = dict(zip(file.descriptions, 10_000 * file.read().astype(float), strict=True))
    bands = {"blue": "B02", "swir1": "B11", "swir2": "B12", "green": "B03", "red": "B04", "nir": "B08"}
    views = {role: named[band].round().astype(np.int64) for role, band in bands.items()}
    off, left = as_numbers(views, 0), as_numbers(views, 1000)
    judged = {role: off.pop(role) for role in ("blue", "swir1", "swir2")}
    taken = judge_offset(product(), judged, said=True, name="S2B")
    require_taken_off(judged, off, taken, 0, "S2B")
    for role in off:
        with pytest.raises(
            ProductError, match=rf"1000 is added .*; but only 0% of {role} in shade are below"
        ):
            require_taken_off(judged, off | {role: left[role]}, taken, 0, "S2B")
