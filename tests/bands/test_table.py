from pathlib import Path

import pytest

from glacierseg.bands import BandImportance, read_measures, write_importance
from glacierseg.choices import Measure
from glacierseg.errors import DataError

MEASURES: dict[Measure, tuple[BandImportance, ...]] = {
    "permutation": (
        BandImportance(1, "b", 0.25, 0.125, 0.5, None, 0.001, True, 1, 1),
        BandImportance(2, "a", -0.5, 0.0, 0.25, None, 0.75, False, 2, 2),
    ),
    "gradient": (
        BandImportance(1, "a", 0.75, 0.0, None, 0.125),
        BandImportance(2, "b", 0.25, 0.5, None, 0.0),
    ),
}


def test_both_measures_survive_the_file_in_their_order(tmp_path: Path) -> None:
    write_importance(tmp_path / "t.csv", MEASURES)
    again = read_measures(tmp_path / "t.csv")
    assert again == MEASURES
    assert list(again) == list(MEASURES)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == (
        "rank,band,importance,spread,measure,standard_error,region_spread,"
        "gradient_rank,gradient,gradient_spread,gradient_standard_error,gradient_region_spread,"
        "p_value,measurable,rank_low,rank_high,"
        "gradient_p_value,gradient_measurable,gradient_rank_low,gradient_rank_high"
    )
    assert (
        lines[1]
        == "1,b,0.250000,0.125000,permutation,0.500000,,2,0.250000,0.500000,,0.000000,0.001,1,1,1,,,,"
    )


def test_a_table_of_an_older_version_has_four_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("rank,band,importance,spread\n1,x,0.6,0.1\n2,y,0.4,0.2\n")
    assert read_measures(tmp_path / "t.csv") == {
        "gradient": (BandImportance(1, "x", 0.6, 0.1), BandImportance(2, "y", 0.4, 0.2))
    }


def test_measures_of_an_older_version_are_left_out_where_they_only_checked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "rank,band,importance,spread,measure,standard_error,region_spread,"
        "integrated_rank,integrated,integrated_spread,integrated_standard_error,integrated_region_spread,"
        "permutation_rank,permutation,permutation_spread,permutation_standard_error,permutation_region_spread,"
        "p_value,measurable,rank_low,rank_high,"
        "integrated_p_value,integrated_measurable,integrated_rank_low,integrated_rank_high,"
        "permutation_p_value,permutation_measurable,permutation_rank_low,permutation_rank_high\n"
        "1,a,0.75,0.5,gradient,0.125,,1,0.9,0.1,0.1,,1,0.25,0.5,0.125,,0.001,1,1,1,0.5,0,1,1,0.25,0,1,1\n"
    )
    assert read_measures(tmp_path / "t.csv") == {
        "gradient": (BandImportance(1, "a", 0.75, 0.5, 0.125, None, 0.001, True, 1, 1),),
        "permutation": (BandImportance(1, "a", 0.25, 0.5, 0.125, None, 0.25, False, 1, 1),),
    }


def test_bands_chosen_by_a_measure_of_an_older_version_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("rank,band,importance,spread,measure\n1,x,1,1,drop\n")
    with pytest.raises(DataError, match=r"t\.csv: .*by gradient or permutation \(got 'drop', of an earlier"):
        read_measures(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rank,band,importance,spread\n",
        "rank,band,importance,spread,measure\n1,x,one,1,gradient\n",
        "rank,band,importance,spread,measure,permutation\n1,x,1,1,gradient,1\n",
    ],
)
def test_a_damaged_table_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=r"t\.csv: is damaged"):
        read_measures(tmp_path / "t.csv")
