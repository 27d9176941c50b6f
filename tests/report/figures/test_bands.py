from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgba

from glacierseg.report.figures.bands import figure_band_importance, importance_picture, measure_pictures
from glacierseg.report.page import render
from glacierseg.report.style import BLUE
from glacierseg.runs.results import read_results
from tests.helpers import present

FOLDER = "unetplusplus/all"


def test_chosen_bands_stand_out() -> None:
    figure = figure_band_importance({"A": [("red", 3.0), ("nir", 2.0), ("slope", 1.0)]}, {"A": ["nir"]})
    axes = figure.axes[0]
    bars: list[Any] = list(axes.patches)
    assert [bar.get_width() for bar in bars] == [3.0, 2.0, 1.0]
    assert [bar.get_facecolor() == to_rgba(BLUE) for bar in axes.patches] == [False, True, False]


@pytest.fixture
def measured(run_dir: Path) -> Path:
    """A run whose UNet++ has two measures of band importance."""
    (run_dir / FOLDER / "band_importance.csv").write_text(
        "rank,band,importance,spread,measure,standard_error,region_spread,"
        "permutation_rank,permutation,permutation_spread,permutation_standard_error,permutation_region_spread\n"
        "1,nir,0.5,0.1,gradient,0.01,,3,0.01,0.1,0.02,\n"
        "2,green,0.3,0.1,gradient,0.01,,1,0.30,0.1,0.02,\n"
        "3,red,0.2,0.1,gradient,0.01,,2,0.20,0.1,0.02,\n"
    )
    return run_dir


def test_a_network_with_several_measures_is_drawn_once(measured: Path) -> None:
    results = read_results(measured)
    (picture,) = measure_pictures(results)
    panels = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert panels == ["Gradient", "Permutation"]
    assert "gradient: nir, green" in picture.alt
    assert "permutation: green, red" in picture.alt
    other = importance_picture(results)
    assert [axes.get_title(loc="left") for axes in present(other).figure.axes] == ["GLAVITU"]
    assert render(results).count("best 2 by gradient") == 1


def test_bands_without_measurable_importance_are_drawn_as_outlines_and_named(measured: Path) -> None:
    path = measured / FOLDER / "band_importance.csv"
    head, *rows = path.read_text().splitlines()
    tested = ("0.001,1,1,2", "0.002,1,1,2", "0.4,0,3,3")
    path.write_text(
        f"{head},p_value,measurable,rank_low,rank_high\n"
        + "".join(f"{row},{own}\n" for row, own in zip(rows, tested, strict=True))
    )
    (picture,) = measure_pictures(read_results(measured))
    assert "No measurable importance by gradient: red." in picture.alt
    first, other = picture.figure.axes
    assert [bar.get_facecolor()[-1] for bar in first.patches] == [1, 1, 0]
    assert [text.get_text() for text in first.texts] == ["1 (1-2)", "2 (1-2)", "none"]
    assert [text.get_text() for text in other.texts] == ["3", "1", "2"]  # an older table tests nothing


def test_one_measure_has_no_picture_of_several(run_dir: Path) -> None:
    assert measure_pictures(read_results(run_dir)) == []
