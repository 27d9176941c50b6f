"""Scenes of products that are kept, and what they are called."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from glacierseg.products.kept import keep_scene, name_of
from glacierseg.products.read import read_product
from glacierseg.settings.prepare import ProductInputs, ProductSettings
from tests.products.shelves import make_safe


def test_a_scene_is_called_by_its_tiles_and_its_first_day(tmp_path: Path) -> None:
    one = read_product(make_safe(tmp_path))
    others = [replace(one, tile=f"T{i}", acquired=date(2024, 9, i + 20)) for i in range(5)]
    assert name_of(others[:2]) == "T0_T1_20240920"
    assert name_of([others[3], others[1], others[3]]) == "T3_T1_20240921"
    assert name_of([one, *others]) == "T45RVL_T0_T1_T2_and_2_more_20240920"


def test_a_scene_is_made_again_only_after_a_change(tmp_path: Path) -> None:
    product = read_product(make_safe(tmp_path))
    times = []
    for recipe in ("red", "red", "nir"):
        how = ProductSettings(recipe=recipe)
        kept = keep_scene([product], tmp_path / "out", how, ProductInputs(), layers={})
        times.append(kept.path.stat().st_mtime_ns)
    assert kept.path == tmp_path / "out/T45RVL_20240930.tif"
    assert times[0] == times[1] < times[2]


def test_no_days_of_an_earlier_scene_lie_beside_the_next_one(tmp_path: Path) -> None:
    product, out = read_product(make_safe(tmp_path)), tmp_path / "out"
    for is_dated in (True, False):
        how = ProductSettings(recipe="red,", write_dates=is_dated)
        keep_scene([product], out, how, ProductInputs(), layers={}, again=True)
        assert (out / "T45RVL_20240930_dates.tif").exists() == is_dated
