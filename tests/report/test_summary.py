import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score

from glacierseg.raster.truth import read_mask
from glacierseg.report.summary import (
    area_bounds,
    best_network,
    best_threshold,
    comparison_rows,
    interval_of,
    more_columns,
    pool,
    score_notes,
    shown_columns,
    summarise,
)
from glacierseg.runs.layout import RunFolder
from glacierseg.runs.results import RunResults, read_results
from tests.helpers import present


@pytest.fixture(scope="module")
def results(whole_run: Path) -> RunResults:
    return read_results(whole_run)


def test_pool_agrees_with_the_rasters(results: RunResults, whole_run: Path) -> None:
    truth = read_mask(whole_run / "regions/khumbu_truth.tif")
    part = (read_mask_of_roles(whole_run) == 3) & (truth != 255)
    predicted = read_mask(whole_run / "unetplusplus/top6/khumbu_refined.tif")
    best = present(best_network(pool(results, "test")))
    assert best.variant == ("unetplusplus", "top6", "refined")
    assert best.iou == pytest.approx(jaccard_score(truth[part], predicted[part]))
    assert best.f1 == pytest.approx(f1_score(truth[part], predicted[part]))
    assert best.predicted_km2 == pytest.approx((predicted[part] == 1).sum() * 900 / 1e6)
    assert best.true_km2 == pytest.approx((truth[part] == 1).sum() * 900 / 1e6)
    assert present(best_threshold(pool(results, "test"))).variant == ("threshold", "all", "refined")


def read_mask_of_roles(run_dir: Path) -> NDArray[np.uint8]:
    with rasterio.open(run_dir / "regions/khumbu_roles.tif") as dataset:
        result: NDArray[np.uint8] = dataset.read(1)
        return result


def two_regions(results: RunResults, **second: Any) -> RunResults:
    """The same run with a second region, whose scores are changed."""
    other = replace(results.regions[0], name="other", pixel_size_m=(10.0, 10.0))
    more = [
        replace(score, region="other", values={**score.values, **second})
        for score in results.scores
        if score.model != "glavitu"
    ]
    return replace(results, regions=(*results.regions, other), scores=(*results.scores, *more))


def test_pool_adds_counts_not_scores(results: RunResults) -> None:
    pooled = pool(two_regions(results, tp=1000.0, fp=0.0, fn=1000.0, tn=0.0), "test")
    single = {entry.variant: entry for entry in pool(results, "test")}
    assert {entry.variant[0] for entry in pooled} == {"threshold", "unetplusplus"}  # glavitu lacks a region
    for entry in pooled:
        alone = single[entry.variant]
        assert entry.regions == 2
        assert entry.counts.tp == alone.counts.tp + 1000
        assert entry.iou == entry.counts.tp / (entry.counts.tp + entry.counts.fp + entry.counts.fn)
        assert entry.predicted_km2 == pytest.approx(alone.predicted_km2 + 1000 * 100 / 1e6)


def test_rows_are_ordered_and_the_best_marked(results: RunResults) -> None:
    rows = comparison_rows(results)
    roles = [row.score.role for row in rows]
    assert roles == sorted(roles, key=["test", "validate", "train"].index)
    for role in ("test", "validate", "train"):
        own = [row for row in rows if row.score.role == role]
        ious = [present(row.score.get("iou")) for row in own]
        assert ious == sorted(ious, reverse=True)
        assert [row for row in own if "iou" in row.best] == own[: ious.count(ious[0])]
        for row in own:
            assert ("recall" in row.best) == (
                row.score.get("recall") == max(present(r.score.get("recall")) for r in own)
            )


def test_area_error_is_the_share_of_the_true_area(results: RunResults) -> None:
    row = comparison_rows(results)[0]
    tp, fp, fn = (present(row.score.get(name)) for name in ("tp", "fp", "fn"))
    assert row.area_km2 == pytest.approx((tp + fp) * 900 / 1e6)
    assert row.area_error == pytest.approx((tp + fp) / (tp + fn) - 1)


def test_other_columns_are_kept(results: RunResults) -> None:
    assert more_columns(results) == ["tp", "fp", "fn", "tn", "mcc"]


def test_scores_of_debris_and_of_undefined_pixels_are_shown_where_there_are_any(results: RunResults) -> None:
    assert shown_columns(results) == {}
    assert score_notes(results) == []
    more = {"debris_recall": 0.5, "debris_iou": None, "iou_undefined_as_background": 0.4, "undefined_px": 0.0}
    scores = tuple(replace(s, values={**s.values, **more}) for s in results.scores)
    found = replace(results, scores=scores, ice_rules={"khumbu": "red / swir1 > 2 (fixed)"})
    assert shown_columns(found) == {"debris_recall": "Debris, recall"}
    assert "where red / swir1 > 2 (fixed), and debris" in score_notes(found)[0]
    assert more_columns(found)[-2:] == ["iou_undefined_as_background", "undefined_px"]
    some = tuple(replace(s, values={**s.values, "undefined_px": 3.0}) for s in scores)
    assert list(shown_columns(replace(found, scores=some))) == [
        "debris_recall",
        "iou_undefined_as_background",
    ]
    assert len(score_notes(replace(found, scores=some))) == 2


@pytest.fixture
def bounded(whole_run: Path) -> RunResults:
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


def test_summary_tells_intervals_and_area_with_bounds(bounded: RunResults) -> None:
    said = summarise(bounded)
    text = " ".join(said.sentences)
    assert "(0.610–0.720) and F1" in text
    assert "the area is 1.50 km², between 1.20 and 1.80 km² at 90 % confidence" in text
    assert "1.20–1.80 km²" in [fact.value for fact in said.facts]


def test_bounds_of_several_regions_come_from_the_pooled_table(bounded: RunResults, tmp_path: Path) -> None:
    best = pool(bounded, "test")[0]
    assert interval_of(bounded, best, "test", "iou") == (0.61, 0.72)
    two = replace(best, regions=2)
    assert interval_of(bounded, two, "test", "iou") is None
    model, bands, stage = best.variant
    (tmp_path / "pooled.csv").write_text(
        f"model,bands,role,stage,iou,iou_low,iou_high\n{model},{bands},test,{stage},0.6,0.5,0.7\n"
    )
    assert interval_of(replace(bounded, folder=RunFolder(tmp_path)), two, "test", "iou") == (0.5, 0.7)


def test_area_without_bounds_of_every_region_has_none(bounded: RunResults) -> None:
    assert area_bounds(bounded, "glavitu", "all", "test") is None
    found = present(area_bounds(bounded, "unetplusplus", "top6", "test"))
    assert (found.lower_km2, found.expected_km2, found.upper_km2) == (1.2, 1.5, 1.8)


def test_summary_without_a_test_part_says_so(whole_run: Path) -> None:
    results = read_results(whole_run)
    untested = replace(results, scores=tuple(s for s in results.scores if s.role != "test"))
    text = " ".join(summarise(untested).sentences)
    assert "on the validate part, with IoU" in text
    assert "no score on a test part yet" in text
    assert summarise(replace(results, scores=())).best is None


def test_the_validate_part_chooses_and_the_test_part_only_judges(whole_run: Path) -> None:
    results = read_results(whole_run)
    validated = [s for s in results.scores if s.role == "validate" and s.model != "threshold"]
    chosen = max(validated, key=lambda score: present(score.get("iou"))).variant
    assert present(summarise(results).best).variant == chosen
    other = next(s for s in results.scores if s.role == "test" and s.variant[:2] == ("glavitu", "all"))
    assert other.variant != chosen
    lucky = replace(other, values={**other.values, "fp": 0.0, "fn": 0.0})
    said = summarise(replace(results, scores=(*(s for s in results.scores if s is not other), lucky)))
    assert present(said.best).variant == chosen
    assert "scores higher (IoU 1.000); choosing it for that" in " ".join(said.sentences)
    unvalidated = summarise(replace(results, scores=tuple(s for s in results.scores if s.role == "test")))
    assert "the test scores chose the network, so they are optimistic" in " ".join(unvalidated.sentences)


def test_summary_says_when_the_threshold_wins(whole_run: Path) -> None:
    results = read_results(whole_run)
    best = next(s for s in results.scores if s.variant == ("threshold", "all", "raw") and s.role == "test")
    perfect = replace(best, values={**best.values, "fp": 0.0, "fn": 0.0})
    text = " ".join(summarise(replace(results, scores=(*results.scores, perfect))).sentences)
    assert " lower" not in text  # two rows of one variant add up
    alone = tuple(s for s in results.scores if s is not best)
    text = " ".join(summarise(replace(results, scores=(*alone, perfect))).sentences)
    assert re.search(r"the network scores 0\.\d{3} lower", text)
