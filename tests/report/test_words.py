from dataclasses import replace

import pytest

from glacierseg.report import style
from glacierseg.report.refinement import in_words, refinement_rows
from glacierseg.report.summary import summarise
from glacierseg.report.training import TRAINING_FACTS, duration_text, training_rows
from glacierseg.runs.read import read_results


@pytest.mark.parametrize(
    ("value", "score", "area", "count"),
    [
        (None, "–", "–", "–"),
        (0.12345, "0.123", "0.12", "0.1235"),
        (12.0, "12.000", "12.0", "12"),
        (1234567.0, "1234567.000", "1,234,567", "1\u2009234\u2009567"),
    ],
)
def test_numbers(value, score, area, count):
    assert style.score_text(value) == score
    assert style.area_text(value) == area
    assert style.count_text(value) == count


def test_names():
    assert style.variant_label("m_landsnet", "top6", "raw") == "M-LandsNet, top bands, raw"
    assert style.variant_label("threshold", "all", "raw") == "Threshold, raw"
    assert style.variant_label("new", "all") == "new, all bands"
    assert style.difference_text(-0.01) == "−0.010"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("min_area_km2", 0.03, "min area 0.03 km²"),
        ("merge_distance_m", 20, "merge distance 20 m"),
        ("max_hole_km2", None, "max hole any"),
        ("iterations", 3, "iterations 3"),
        ("shape", "disk", "shape disk"),
    ],
)
def test_parameters_in_words(key, value, words):
    assert in_words(key, value) == words


def test_refinement_compares_stages(whole_run):
    results = read_results(whole_run)
    iou = {(s.variant, s.role): s.get("iou") for s in results.scores}
    row = next(row for row in refinement_rows(results) if row.label == "UNet++, all bands")
    for role, pair in (("validate", row.validate), ("test", row.test)):
        expected = [iou[("unetplusplus", "all", stage), role] for stage in ("raw", "refined")]
        assert pair == pytest.approx(expected)


def test_training_facts(whole_run):
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
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_summary_without_a_test_part_says_so(whole_run):
    results = read_results(whole_run)
    untested = replace(results, scores=tuple(s for s in results.scores if s.role != "test"))
    text = " ".join(summarise(untested).sentences)
    assert "on the validate part: IoU" in text
    assert "no score on a test part yet" in text
    assert summarise(replace(results, scores=())).best is None


def test_the_validate_part_chooses_and_the_test_part_only_judges(whole_run):
    results = read_results(whole_run)
    validated = [s for s in results.scores if s.role == "validate" and s.model != "threshold"]
    chosen = max(validated, key=lambda score: score.get("iou")).variant
    assert summarise(results).best.variant == chosen
    other = next(s for s in results.scores if s.role == "test" and s.variant[:2] == ("glavitu", "all"))
    assert other.variant != chosen
    lucky = replace(other, values={**other.values, "fp": 0.0, "fn": 0.0})
    said = summarise(replace(results, scores=(*(s for s in results.scores if s is not other), lucky)))
    assert said.best.variant == chosen
    assert "scores higher, IoU 1.000; to choose by that would flatter" in " ".join(said.sentences)
    unvalidated = summarise(replace(results, scores=tuple(s for s in results.scores if s.role == "test")))
    assert "its scores there flatter" in " ".join(unvalidated.sentences)


def test_summary_says_when_the_threshold_wins(whole_run):
    results = read_results(whole_run)
    best = next(s for s in results.scores if s.variant == ("threshold", "all", "raw") and s.role == "test")
    perfect = replace(best, values={**best.values, "fp": 0.0, "fn": 0.0})
    text = " ".join(summarise(replace(results, scores=(*results.scores, perfect))).sentences)
    assert "falls behind by" not in text  # two rows of one variant add up
    alone = tuple(s for s in results.scores if s is not best)
    assert "the network falls behind by 0." in " ".join(
        summarise(replace(results, scores=(*alone, perfect))).sentences
    )
