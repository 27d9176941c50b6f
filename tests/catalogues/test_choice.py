"""Choices among images whose ground is a few cells, against sets worked out by hand and by trying all."""

import csv
import itertools
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.catalogues.choice import COLUMNS, LEAST_GAIN, LEAST_OF_A_TILE, Chosen, choose, write_choices
from glacierseg.catalogues.rating import CLEARLY, SEEN, Seen
from glacierseg.errors import RequestError
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.looks import AUTUMN, candidate, seen

USUAL = FetchSettings(date=(date(2024, 8, 1), date(2024, 10, 31)))
COMPOSITE = USUAL.model_copy(update={"composite": True})
WHOLE = np.ones((1, 4), bool)


def at(day: int, tile: str = "T45RVL", cells: Any = (2, 2, 2, 2), **values: Any) -> Seen:
    own = {name: values.pop(name) for name in ("letter", "part", "sensor", "cloud_said") if name in values}
    return seen(candidate(AUTUMN + timedelta(day), tile, **own), cells, **values)


def days(chosen: Chosen) -> list[int]:
    """Which images are taken, in order, by the days from the first one."""
    return [(one.acquired - AUTUMN).days for one in chosen.taken]


def why(chosen: Chosen, one: Seen) -> str:
    return next(choice.why for choice in chosen.choices if choice.seen is one)


def test_the_best_image_of_each_tile_is_taken() -> None:
    best, worse = at(0, cells=(2, 2, 2, 0), cloud=0.02), at(5, cells=(2, 2, 2, 0), cloud=0.1, sun_deg=37.0)
    other, cloudy = at(2, "T45RWL", (0, 0, 2, 2), snow=0.09), at(3, "T45RWL", (0, 0, 2, 2), cloud=0.9)
    chosen = choose([worse, cloudy, other, best], WHOLE, USUAL)
    assert days(chosen) == [2, 0]
    assert [(one.rank, one.taken) for one in chosen.choices] == [(1, True), (2, True), (3, False), (4, False)]
    assert (chosen.shown, chosen.remark) == (1, None)
    assert why(chosen, best) == "best of 2 of T45RVL: cloud 2 % of the place, snow 0 %, sun 55 degrees"
    assert why(chosen, cloudy) == "cloud 90 % of the place, more than --max-cloud 0.2"
    assert why(chosen, worse) == (
        f"score 0.77, and {best.candidate.name} has 0.98: lower sun and longer shadows, more cloud; "
        "cloud 10 % of the place, snow 0 %, sun 37 degrees"
    )


def test_a_tile_whose_ground_others_show_is_not_taken() -> None:
    whole, part = at(0, snow=0.2), at(1, "T45RWL", (0, 0, 2, 2))
    other = at(9, snow=0.1)
    chosen = choose([part, whole, other], WHOLE, USUAL)
    assert days(chosen) == [9]
    assert why(chosen, part) == "score 1.00; adds nothing to what is shown of the place"
    # Cloud of the one is not filled with the other: that is what a composite is for.
    chosen = choose([part, replace(whole, cells=np.array([[2, 2, 1, 1]], np.uint8))], WHOLE, USUAL)
    assert days(chosen) == [0]


def test_of_equals_the_name_decides() -> None:
    ones = [at(0, letter=letter) for letter in "CAB"]
    for order in itertools.permutations(ones):
        assert choose(order, WHOLE, USUAL).taken == (ones[1].candidate,)


def test_of_nearly_equal_images_one_day_is_taken_for_all_tiles() -> None:
    left = at(0, cells=(2, 2, 0, 0))
    right, better = at(0, "T45RWL", (0, 0, 2, 2), cloud=0.03), at(5, "T45RWL", (0, 0, 2, 2), cloud=0.015)
    chosen = choose([left, better, right], WHOLE, USUAL)
    assert days(chosen) == [0, 0]
    assert why(chosen, right).startswith("best of 2 of T45RWL: ")
    assert why(chosen, better) == (
        f"score 0.98, and {right.candidate.name} has 0.97 and is of one day with another tile"
    )
    much_better = replace(better, cloud=0.0)
    assert sorted(days(choose([left, much_better, right], WHOLE, USUAL))) == [0, 5]


def test_both_parts_of_an_image_that_was_split_are_taken() -> None:
    one, two = at(0, cells=(2, 2, 0, 0), no_data=0.5), at(0, cells=(0, 0, 2, 2), no_data=0.5, part=7)
    worse = at(3, no_data=0.4, cells=(2, 2, 2, 0), snow=0.4)
    chosen = choose([two, worse, one], WHOLE, USUAL)
    assert set(chosen.taken) == {one.candidate, two.candidate}
    assert why(chosen, two).startswith(f"part of the same image as {one.candidate.name}: cloud 0 %")


def test_a_scene_is_of_one_sensor() -> None:
    tiles = {"140041": (2, 2, 0, 0), "140040": (0, 0, 2, 2)}
    eight = [at(0, tile, cells, sensor="landsat8") for tile, cells in tiles.items()]
    nine = [at(8, tile, cells, sensor="landsat9", snow=0.1) for tile, cells in tiles.items()]
    chosen = choose([*eight, *nine], WHOLE, USUAL)
    assert {one.sensor for one in chosen.taken} == {"landsat8"}
    lower = replace(eight[0], sun_deg=21.0)
    chosen = choose([lower, eight[1], *nine], WHOLE, USUAL)
    assert {one.sensor for one in chosen.taken} == {"landsat9"}
    said = "score 1.00; a scene is of one sensor, and landsat9 shows the place better"
    assert why(chosen, eight[1]) == said


def test_a_composite_takes_the_fewest_that_show_all() -> None:
    ground = np.ones((1, 10), bool)
    big = at(0, cells=[2] * 6 + [1] * 4, cloud=0.1)
    left, right = at(1, cells=[2] * 5 + [1] * 5), at(2, cells=[1] * 5 + [2] * 5)
    chosen = choose([left, big, right], ground, COMPOSITE)
    assert days(chosen) == [0, 2]
    assert chosen.shown == 1
    assert why(chosen, left) == "score 1.00; adds nothing to what is shown of the place"
    assert why(chosen, right).startswith("adds 40 % of the place: cloud 0 %")
    # The first one taken is not needed any more when two others show its ground.
    middle = at(0, cells=[1, 1, 2, 2, 2, 2, 2, 2, 1, 1])
    assert sorted(days(choose([left, middle, right], ground, COMPOSITE))) == [1, 2]


def test_a_composite_puts_the_best_pixels_first() -> None:
    snowy, bare = at(0, cells=(2, 2, 2, 1), snow=0.3), at(1, cells=(1, 1, 2, 2), cloud=0.2)
    # A yardstick: what is white in all of them is ice.
    bare = replace(bare, snow=0.05)
    chosen = choose([snowy, bare], WHOLE, COMPOSITE)
    assert days(chosen) == [1, 0]


def test_little_more_is_not_worth_an_image() -> None:
    ground = np.ones((1, 1000), bool)
    most = at(0, cells=[2] * 991 + [1] * 9)
    rest = at(1, cells=[1] * 990 + [2] * 10, cloud=0.15)
    chosen = choose([most, rest], ground, COMPOSITE)
    assert days(chosen) == [0]
    assert why(chosen, rest) == "score 0.85; adds 0.9 % to what is shown of the place"
    assert chosen.remark is None


def refused(ones: list[Seen], how: FetchSettings, wanted: NDArray[np.bool_] = WHOLE) -> str:
    with pytest.raises(RequestError) as caught:
        choose(ones, wanted, how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_options(how: FetchSettings, said: str) -> FetchSettings:
    """Settings with the options that a message ends in, as if they were typed."""
    cure = f"--{said.rsplit('with --', 1)[-1]}"
    options = re.findall(r"--(max-cloud|max-snow|min-sun-deg|composite)(?: ([\d.]*\d))?", cure)
    typed = {name.replace("-", "_"): float(value) if value else True for name, value in options}
    assert typed
    return FetchSettings(**(how.model_dump() | typed))


def test_none_good_enough_names_the_best_and_what_would_take_it() -> None:
    ones = [at(0, cloud=0.45, sun_deg=18.7), at(1, cloud=0.8), at(2, no_data=1.0)]
    best = ones[0].candidate
    said = refused(ones, USUAL)
    assert said == (
        f"no image is good enough; the best one of 3 is {best.name}: cloud 45 % of the place, more than "
        "--max-cloud 0.2; sun 18.7 degrees, less than --min-sun-deg 20; ask for other days with --date, or "
        "take it with --max-cloud 0.45 --min-sun-deg 18"
    )
    assert choose(ones, WHOLE, with_options(USUAL, said)).taken == (best,)
    snowed_in = refused([at(0, snow=1.0)], USUAL)
    assert "snow 100 % of the place, more than --max-snow 0.5" in snowed_in
    assert snowed_in.endswith(
        "take it with --max-snow 1; with known glaciers (--existing) only snow beside them counts"
    )
    assert days(choose([at(0, snow=1.0)], WHOLE, with_options(USUAL, snowed_in))) == [0]
    assert refused([at(0, no_data=1.0)], USUAL).endswith(
        "shows nothing of the place; ask for other days with --date"
    )
    beside = at(0, cells=(2, 2, 0, 0))
    assert "shows nothing of the place" in refused([beside], USUAL, np.array([[False, False, True, True]]))


def test_ground_that_is_not_shown_is_said_and_the_cure_works() -> None:
    half, cloudy = at(0, cells=(2, 2, 0, 0)), at(1, "T45RWL", (0, 0, 2, 2), cloud=0.5)
    chosen = choose([half, cloudy], WHOLE, USUAL)
    assert chosen.shown == 0.5
    said = "50 % of the place is on no image that is taken; ask for more days with --date"
    assert chosen.remark == said
    # Of another image of the same tile a part is missing too.
    other = at(2, cells=(0, 0, 2, 2), snow=0.3)
    cure = str(choose([half, other], WHOLE, USUAL).remark)
    assert cure == f"{said}, or take several images of each tile with --composite"
    assert choose([half, other], WHOLE, with_options(USUAL, cure)).shown == 1
    # Under cloud it would not show more.
    assert choose([half, at(2, cells=(0, 0, 1, 1), snow=0.3)], WHOLE, USUAL).remark == said


def test_glaciers_are_what_has_to_be_shown_where_they_are_known() -> None:
    wanted = np.array([[True, True, False, False]])
    own: dict[str, Any] = {"glaciers": 0.5, "cloud": 0.02, "snow": 0.09}
    chosen = choose([at(0, cells=(2, 2, 0, 0), **own), at(1, "T45RWL", (0, 0, 2, 2), **own)], wanted, USUAL)
    assert days(chosen) == [0]
    assert chosen.shown == 1
    assert chosen.choices[0].why == (
        "the only one of T45RVL: cloud 2 % over the glaciers, snow 9 % beside them, sun 55 degrees"
    )
    assert chosen.choices[1].why == "shows nothing of the glaciers"


def test_a_catalogue_that_is_contradicted_is_quoted() -> None:
    empty = at(1, cloud_said=0.0, cloud=1.0, no_data=1.0, cells=(0, 0, 0, 0))
    assert why(choose([at(0), empty], WHOLE, USUAL), empty) == "shows nothing of the place"
    for said, cloud, words in (
        (0.9, 0.05, "; the catalogue says cloud 90 %, the classes show 5 % here"),
        (0.2, 0.05, ""),
    ):
        (choice,) = choose([at(0, cloud_said=said, cloud=cloud)], WHOLE, USUAL).choices
        assert (
            choice.why == f"the only one of T45RVL: cloud 5 % of the place, snow 0 %, sun 55 degrees{words}"
        )
        assert choice.rating.score == pytest.approx(0.95)


SHARES = st.sampled_from([0.0, 0.05, 0.2, 0.21, 0.337, 0.5, 0.7, 1.0])


@st.composite
def places(draw: st.DrawFn) -> list[Seen]:
    """Up to six images of a place of six cells, of up to three tiles."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        cells = draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))
        values = {name: draw(SHARES) for name in ("cloud", "snow", "no_data")}
        values["sun_deg"] = draw(st.sampled_from([-2.0, 12.3, 20.0, 37.0, 55.0]))
        tile = draw(st.sampled_from(["T45RVL", "T45RWL", "T44RQR"]))
        found.append(at(draw(st.integers(0, 2)), tile, cells, part=number, **values))
    return found


def tried(ones: list[Seen], how: FetchSettings) -> Chosen | str:
    """What is chosen, or the message that says why nothing is."""
    try:
        return choose(ones, np.ones((1, 6), bool), how)
    except RequestError as error:
        return str(error)


@given(places(), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_the_order_of_the_catalogue_changes_nothing(ones: list[Seen], composite: bool, random: Any) -> None:
    how = COMPOSITE if composite else USUAL
    assert tried(random.sample(ones, len(ones)), how) == tried(ones, how)


@given(places(), st.booleans())
@settings(max_examples=100)
def test_each_image_that_is_taken_adds_something(ones: list[Seen], composite: bool) -> None:
    how, least = (COMPOSITE, CLEARLY) if composite else (USUAL, SEEN)
    chosen = tried(ones, how)
    if isinstance(chosen, str):
        return
    taken = [choice.seen.cells >= least for choice in chosen.choices if choice.taken]
    shown = np.any(taken, axis=0)
    assert chosen.shown == shown.mean()
    for number, one in enumerate(taken):
        others = [other for at, other in enumerate(taken) if at != number]
        assert (one & ~np.any([*others, np.zeros_like(one)], axis=0)).any()
    if composite:
        good = [choice.seen.cells >= least for choice in chosen.choices if choice.rating.refused is None]
        assert (shown == np.any(good, axis=0)).all(), "a cell is a sixth, which is more than the least gain"
    assert len({choice.rank for choice in chosen.choices}) == len(ones)
    assert LEAST_OF_A_TILE < LEAST_GAIN < 1 / 6


@given(places(), st.booleans(), SHARES, SHARES)
@settings(max_examples=100)
def test_wider_limits_never_refuse_what_was_taken(
    ones: list[Seen], composite: bool, cloud: float, snow: float
) -> None:
    how = COMPOSITE if composite else USUAL
    found = tried(ones, how)
    if not isinstance(found, str):
        wider = {"max_cloud": max(cloud, how.max_cloud), "max_snow": max(snow, how.max_snow)}
        assert isinstance(tried(ones, how.model_copy(update=wider)), Chosen)
    elif "take it with" in found:
        taken = tried(ones, with_options(how, found))
        assert isinstance(taken, Chosen)
        assert taken.taken


@given(places(), st.booleans())
@settings(max_examples=100)
def test_the_cure_of_what_is_not_shown_shows_more(ones: list[Seen], composite: bool) -> None:
    how = COMPOSITE if composite else USUAL
    found = tried(ones, how)
    if isinstance(found, Chosen) and "take " in (found.remark or ""):
        cured = tried(ones, with_options(how, str(found.remark)))
        assert isinstance(cured, Chosen)
        assert cured.shown > found.shown


def test_the_table_has_a_row_for_each_image_and_what_was_left_out(tmp_path: Path) -> None:
    good, snowy = seen(candidate(cloud_said=0.3), cloud=0.1), seen(candidate(letter="C"), snow=1 / 3)
    ones = [good, seen(candidate(letter="A"), cloud=0.5), snowy]
    whole = np.ones((1, 4), bool)
    left_out = [("b", "is older"), ("a", "has no classes, so far")]
    first, second = tmp_path / "scenes.csv", tmp_path / "again.csv"
    write_choices(first, choose(ones, whole, FetchSettings()), left_out)
    write_choices(second, choose(ones[::-1], whole, FetchSettings()), left_out[::-1])
    assert first.read_bytes() == second.read_bytes()
    with first.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == ["1", "2", "3", "", ""]
    assert [row["taken"] for row in rows] == ["1", "0", "0", "0", "0"]
    assert [(row["item"], row["why"]) for row in rows[3:]] == sorted(left_out)
    own = rows[0]
    assert own["name"] == ones[0].candidate.name
    assert own["acquired"] == "2024-09-30T04:57:00Z"
    assert [own[name] for name in ("cloud", "cloud_said", "score", "sun_deg", "cloud_beside")] == [
        *("0.1", "0.3", "0.9", "55.0", "")
    ]
    assert rows[1]["snow"] == "0.3333"
