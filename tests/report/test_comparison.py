from dataclasses import replace

import pytest
import rasterio
from sklearn.metrics import f1_score, jaccard_score

from glacierseg.raster.truth import read_mask
from glacierseg.report.comparison import best_network, best_threshold, comparison_rows, more_columns, pool
from glacierseg.runs.read import read_results
from glacierseg.runs.results import RunResults


@pytest.fixture(scope="module")
def results(whole_run) -> RunResults:
    return read_results(whole_run)


def test_pool_agrees_with_the_rasters(results, whole_run):
    truth = read_mask(whole_run / "regions/khumbu_truth.tif")
    part = (read_mask_of_roles(whole_run) == 3) & (truth != 255)
    predicted = read_mask(whole_run / "unetplusplus/top6/khumbu_refined.tif")
    best = best_network(pool(results, "test"))
    assert best.variant == ("unetplusplus", "top6", "refined")
    assert best.iou == pytest.approx(jaccard_score(truth[part], predicted[part]))
    assert best.f1 == pytest.approx(f1_score(truth[part], predicted[part]))
    assert best.predicted_km2 == pytest.approx((predicted[part] == 1).sum() * 900 / 1e6)
    assert best.true_km2 == pytest.approx((truth[part] == 1).sum() * 900 / 1e6)
    assert best_threshold(pool(results, "test")).variant == ("threshold", "all", "refined")


def read_mask_of_roles(run_dir):
    with rasterio.open(run_dir / "regions/khumbu_roles.tif") as dataset:
        return dataset.read(1)


def two_regions(results, **second):
    """The same run with a second region, whose scores are changed."""
    other = replace(results.regions[0], name="other", pixel_size_m=(10.0, 10.0))
    more = [
        replace(score, region="other", values={**score.values, **second})
        for score in results.scores
        if score.model != "glavitu"
    ]
    return replace(results, regions=(*results.regions, other), scores=(*results.scores, *more))


def test_pool_adds_counts_not_scores(results):
    pooled = pool(two_regions(results, tp=1000.0, fp=0.0, fn=1000.0, tn=0.0), "test")
    single = {entry.variant: entry for entry in pool(results, "test")}
    assert {entry.variant[0] for entry in pooled} == {"threshold", "unetplusplus"}  # glavitu lacks a region
    for entry in pooled:
        alone = single[entry.variant]
        assert entry.regions == 2
        assert entry.counts.tp == alone.counts.tp + 1000
        assert entry.iou == entry.counts.tp / (entry.counts.tp + entry.counts.fp + entry.counts.fn)
        assert entry.predicted_km2 == pytest.approx(alone.predicted_km2 + 1000 * 100 / 1e6)


def test_rows_are_ordered_and_the_best_marked(results):
    rows = comparison_rows(results)
    roles = [row.score.role for row in rows]
    assert roles == sorted(roles, key=["test", "validate", "train"].index)
    for role in ("test", "validate", "train"):
        own = [row for row in rows if row.score.role == role]
        ious = [row.score.get("iou") for row in own]
        assert ious == sorted(ious, reverse=True)
        assert [row for row in own if "iou" in row.best] == own[: ious.count(ious[0])]
        for row in own:
            assert ("recall" in row.best) == (
                row.score.get("recall") == max(r.score.get("recall") for r in own)
            )


def test_area_error_is_the_share_of_the_true_area(results):
    row = comparison_rows(results)[0]
    tp, fp, fn = (row.score.get(name) for name in ("tp", "fp", "fn"))
    assert row.area_km2 == pytest.approx((tp + fp) * 900 / 1e6)
    assert row.area_error == pytest.approx((tp + fp) / (tp + fn) - 1)


def test_other_columns_are_kept(results):
    assert more_columns(results) == ["tp", "fp", "fn", "tn", "mcc"]
