import json
from pathlib import Path

import pytest

from glacierseg.report import write_report
from glacierseg.report.tables import (
    TRAINING_FACTS,
    duration_text,
    importance_table,
    in_words,
    read_tables,
    refinement_rows,
    refinement_table,
    training_rows,
)
from glacierseg.runs.layout import RunFolder
from glacierseg.runs.results import read_results
from tests.helpers import present


def test_bounds_stand_in_the_cell_of_their_score(tmp_path: Path) -> None:
    (tmp_path / "zones.csv").write_text(
        "model,bands,zone_kind,zone,iou,iou_low,iou_high,pixels,empty\n"
        "unetplusplus,top6,size class,0.1-0.5 km2,0.71234,0.6,0.8,1200,\n"
        "unetplusplus,top6,size class,>10 km2,nan,,,7,\n"
    )
    (table,) = read_tables(RunFolder(tmp_path))
    assert table.columns == [
        ("model", False), ("bands", False), ("zone kind", False), ("zone", False),
        ("iou", True), ("pixels", True),
    ]  # fmt: skip
    assert [cell.text for cell in table.rows[0]] == [
        "UNet++", "top bands", "size class", "0.1-0.5 km2", "0.712", "1\u2009200",
    ]  # fmt: skip
    assert [cell.bounds for cell in table.rows[0][4:]] == ["(0.600–0.800)", ""]
    assert [cell.value for cell in table.rows[0][4:]] == [0.71234, 1200]
    assert (table.rows[1][4].text, table.rows[1][4].value) == ("–", None)


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "glaciers.csv").write_text("glacier,area_km2\n" + "".join(f"g{i},{i}\n" for i in range(1000)))
    (table,) = read_tables(RunFolder(tmp_path))
    assert len(table.rows) + table.left_out == 1000
    assert table.left_out > 0


def test_ranks_of_several_measures_are_listed(run_dir: Path) -> None:
    assert importance_table(read_results(run_dir).networks) is None
    (run_dir / "glavitu/all/band_importance.csv").write_text(
        "rank,band,importance,spread,measure,permutation_rank,permutation\n1,nir,0.5,0.1,gradient,2,0.01\n"
    )
    table = present(importance_table(read_results(run_dir).networks))
    assert [name for name, _ in table.columns][2:] == ["band", "gradient rank", "permutation rank"]
    assert [cell.text for cell in table.rows[0]] == ["GLAVITU", "all bands", "nir", "1", "2"]


def test_ranks_have_bounds_and_those_without_importance_share_theirs(run_dir: Path) -> None:
    (run_dir / "glavitu/all/band_importance.csv").write_text(
        "rank,band,importance,spread,measure,drop_rank,drop,measurable,rank_low,rank_high,"
        "drop_measurable,drop_rank_low,drop_rank_high\n"
        "1,nir,0.3,0.1,gradient,2,0.01,1,1,1,0,2,3\n"
        "2,static,0.5,0.1,gradient,3,0.00,0,2,3,0,2,3\n"
    )
    table = present(importance_table(read_results(run_dir).networks))
    assert [name for name, _ in table.columns][2:] == ["band", "gradient rank", "drop rank"]
    assert [(cell.text, cell.bounds) for cell in table.rows[1]][2:] == [
        ("static", ""), ("2", "(2–3)"), ("3", "(2–3)"),
    ]  # fmt: skip
    # By rank, not by value.
    glavitu = next(m for m in read_results(run_dir).networks if m.model == "glavitu" and m.bands == "all")
    assert [band for band, _ in glavitu.importance] == ["nir", "static"]


def test_steps_of_the_refinement_are_listed(run_dir: Path) -> None:
    assert refinement_table(read_results(run_dir).models) is None
    path = run_dir / "glavitu/all/refinement.json"
    step = {
        "step": "merge", "fragments_before": 12, "fragments_after": 7, "area_before_km2": 0.25,
        "area_after_km2": 1.5, "changed_px": 9,
    }  # fmt: skip
    path.write_text(json.dumps({"best": {}, "changes": {"khumbu": [step]}}))
    table = present(refinement_table(read_results(run_dir).models))
    assert [cell.text for cell in table.rows[0]] == [
        "GLAVITU",
        "all bands",
        "khumbu",
        "merge",
        "12 → 7",
        "0.250 → 1.5",
        "9",
    ]
    assert [cell.value for cell in table.rows[0][4:]] == [7, 1.5, 9]
    assert [title for title, _ in table.columns[4:]] == ["fragments", "area km2", "changed px"]
    assert "Step by step" in write_report(run_dir).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("min_area_km2", 0.03, "min area 0.03 km²"),
        ("merge_distance_m", 20, "merge distance 20 m"),
        ("max_hole_km2", None, "max hole unlimited"),
        ("iterations", 3, "iterations 3"),
        ("shape", "disk", "shape disk"),
    ],
)
def test_parameters_in_words(key: str, value: float | str | None, words: str) -> None:
    assert in_words(key, value) == words


def test_refinement_compares_stages(whole_run: Path) -> None:
    results = read_results(whole_run)
    iou = {(s.variant, s.role): s.get("iou") for s in results.scores}
    row = next(row for row in refinement_rows(results) if row.label == "UNet++, all bands")
    for role, pair in (("validate", row.validate), ("test", row.test)):
        expected = [iou[("unetplusplus", "all", stage), role] for stage in ("raw", "refined")]
        assert pair == pytest.approx(expected)


def test_training_facts(whole_run: Path) -> None:
    rows = training_rows(read_results(whole_run))
    assert [(row.model, row.bands) for row in rows[:2]] == [
        ("GLAVITU", "all bands"),
        ("GLAVITU", "top bands: green, nir"),
    ]
    facts = dict(zip(TRAINING_FACTS, rows[0].facts, strict=True))
    assert facts["Parameters"] == "12\u2009345"
    assert (facts["Epochs"], facts["Best epoch"], facts["Time"]) == ("3", "2", "1 h 7 min")
    assert facts["Patches"] == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (12.4, "12 s"), (600, "10 min"), (3600, "1 h 0 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text
