import json
from dataclasses import replace

import pytest

from glacierseg.report import write_report
from glacierseg.report.comparison import area_bounds, interval_of, pool
from glacierseg.report.reliability import figure_reliability, read_reliability
from glacierseg.report.summary import summarise
from glacierseg.report.tables import importance_table, read_tables, refinement_table
from glacierseg.runs.read import read_results


def test_bounds_stand_in_the_cell_of_their_score(tmp_path):
    (tmp_path / "zones.csv").write_text(
        "model,bands,zone_kind,zone,iou,iou_low,iou_high,pixels,empty\n"
        "unetplusplus,top6,size class,0.1-0.5 km2,0.71234,0.6,0.8,1200,\n"
        "unetplusplus,top6,size class,>10 km2,nan,,,7,\n"
    )
    (table,) = read_tables(tmp_path)
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


def test_long_tables_are_cut_and_say_so(tmp_path):
    (tmp_path / "glaciers.csv").write_text("glacier,area_km2\n" + "".join(f"g{i},{i}\n" for i in range(1000)))
    (table,) = read_tables(tmp_path)
    assert len(table.rows) + table.left_out == 1000
    assert table.left_out > 0


def test_reliability_is_pooled_over_regions_by_pixels(tmp_path):
    (tmp_path / "reliability.csv").write_text(
        "region,role,kind,lower,upper,pixels,confidence,glacier_share\n"
        "a,test,raw,0.0,0.5,100,0.2,0.1\n"
        "b,test,raw,0.0,0.5,300,0.4,0.5\n"
        "b,test,raw,0.5,1.0,0,nan,nan\n"
        "a,test,calibrated,0.5,1.0,10,0.9,0.8\n"
        "a,train,raw,0.0,0.5,100,0.9,0.9\n"
    )
    points = read_reliability(tmp_path, "test")
    assert [(p.kind, p.pixels) for p in points] == [("calibrated", 10), ("raw", 400)]
    assert points[1].confidence == pytest.approx(0.35)
    assert points[1].glacier_share == pytest.approx(0.4)
    assert read_reliability(tmp_path, "validate") == []
    figure = figure_reliability({"UNet++": points})
    drawn = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert drawn["raw"] == [pytest.approx([0.35, 0.4])]


@pytest.fixture
def bounded(whole_run):
    """The results of a whole run, with bounds for the network that is best."""
    results = read_results(whole_run)
    more = {
        "iou_low": 0.61, "iou_high": 0.72,
        "area_km2_expected": 1.5, "area_km2_lower": 1.2, "area_km2_upper": 1.8,
    }  # fmt: skip
    scores = tuple(
        replace(s, values={**s.values, **more}) if s.model == "unetplusplus" and s.role == "test" else s
        for s in results.scores
    )
    return replace(results, scores=scores)


def test_summary_tells_intervals_and_area_with_bounds(bounded):
    said = summarise(bounded)
    text = " ".join(said.sentences)
    assert "(0.610–0.720), F1" in text
    assert "the area is 1.50 km², between 1.20 and 1.80 km² at 90 % confidence" in text
    assert "1.20–1.80 km²" in [fact.value for fact in said.facts]


def test_bounds_of_several_regions_come_from_the_pooled_table(bounded, tmp_path):
    best = pool(bounded, "test")[0]
    assert interval_of(bounded, best, "test", "iou") == (0.61, 0.72)
    two = replace(best, regions=2)
    assert interval_of(bounded, two, "test", "iou") is None
    model, bands, stage = best.variant
    (tmp_path / "pooled.csv").write_text(
        f"model,bands,role,stage,iou,iou_low,iou_high\n{model},{bands},test,{stage},0.6,0.5,0.7\n"
    )
    assert interval_of(replace(bounded, folder=tmp_path), two, "test", "iou") == (0.5, 0.7)


def test_area_without_bounds_of_every_region_has_none(bounded):
    assert area_bounds(bounded, "glavitu", "all", "test") is None
    found = area_bounds(bounded, "unetplusplus", "top6", "test")
    assert (found.lower_km2, found.expected_km2, found.upper_km2) == (1.2, 1.5, 1.8)


def test_ranks_of_several_measures_are_listed(run_dir):
    assert importance_table(read_results(run_dir).networks) is None
    (run_dir / "glavitu/all/band_importance.csv").write_text(
        "rank,band,importance,spread,measure,permutation_rank,permutation\n1,nir,0.5,0.1,gradient,2,0.01\n"
    )
    table = importance_table(read_results(run_dir).networks)
    assert [name for name, _ in table.columns][2:] == ["band", "gradient rank", "permutation rank"]
    assert [cell.text for cell in table.rows[0]] == ["GLAVITU", "all bands", "nir", "1", "2"]


def test_ranks_have_bounds_and_those_without_importance_share_theirs(run_dir):
    (run_dir / "glavitu/all/band_importance.csv").write_text(
        "rank,band,importance,spread,measure,drop_rank,drop,measurable,rank_low,rank_high,"
        "drop_measurable,drop_rank_low,drop_rank_high\n"
        "1,nir,0.3,0.1,gradient,2,0.01,1,1,1,0,2,3\n"
        "2,static,0.5,0.1,gradient,3,0.00,0,2,3,0,2,3\n"
    )
    table = importance_table(read_results(run_dir).networks)
    assert [name for name, _ in table.columns][2:] == ["band", "gradient rank", "drop rank"]
    assert [(cell.text, cell.bounds) for cell in table.rows[1]][2:] == [
        ("static", ""), ("2", "(2–3)"), ("3", "(2–3)"),
    ]  # fmt: skip
    # By rank, not by value.
    glavitu = next(m for m in read_results(run_dir).networks if m.model == "glavitu" and m.bands == "all")
    assert [band for band, _ in glavitu.importance] == ["nir", "static"]


def test_steps_of_the_refinement_are_listed(run_dir):
    assert refinement_table(read_results(run_dir).models) is None
    path = run_dir / "glavitu/all/refinement.json"
    step = {
        "step": "merge", "fragments_before": 12, "fragments_after": 7, "area_before_km2": 0.25,
        "area_after_km2": 1.5, "changed_px": 9,
    }  # fmt: skip
    path.write_text(json.dumps({"best": {}, "changes": {"khumbu": [step]}}))
    table = refinement_table(read_results(run_dir).models)
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
