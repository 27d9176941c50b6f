import geopandas as gpd
import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.evaluate.counts import count
from glacierseg.evaluate.glaciers import glacier_areas, glaciers_by_outline, glaciers_by_part
from glacierseg.raster.outlines import OUTLINE_ID
from tests.helpers import utm_grid

PAIRS = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 255]))] * 2)
)


@given(PAIRS)
def test_strips_count_what_the_whole_has(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    predicted, truth = pair
    whole = glaciers_by_part(truth, 1.0)
    expected = glacier_areas(predicted, truth, whole, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glacierseg.evaluate.glaciers._STRIP_ROWS", 2)
        strips = glaciers_by_part(truth, 1.0)
        assert glacier_areas(predicted, truth, strips, 1.0) == expected
    for name in ("inside", "nearest", "cut"):
        np.testing.assert_array_equal(getattr(strips, name), getattr(whole, name))


@given(PAIRS)
def test_areas_of_glaciers_add_up_to_those_of_the_masks(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    predicted, truth = pair
    glaciers = glaciers_by_part(truth, 1.0)
    labels, _ = ndimage.label(truth == 1, np.ones((3, 3)))
    assert sorted(glaciers.areas_km2) == sorted(np.bincount(labels.ravel())[1:])
    assert list(glaciers.areas_km2) == sorted(glaciers.areas_km2, reverse=True)
    areas = glacier_areas(predicted, truth, glaciers, 1.0)
    n, m = truth.shape
    counts = count(predicted, truth)
    assert areas.truth_km2 == counts.tp + counts.fn
    assert areas.predicted_km2 == counts.tp + counts.fp
    assert sum(one.found_km2 for one in areas.glaciers) == counts.tp
    for one in areas.glaciers:
        own = labels == labels[glaciers.inside == int(one.glacier_id)][0]
        assert one.truth_km2 == (own & (predicted != 255)).sum()
        inner = np.pad(np.ones((max(0, n - 2), max(0, m - 2)), bool), 1) if min(n, m) > 1 else own & False
        assert one.whole == ((predicted[own] != 255).all() and not (own & ~inner).any())
    known = (predicted != 255) & (truth != 255)
    parts, _ = ndimage.label((predicted == 1) & known, np.ones((3, 3)))
    touched = np.unique(parts[(parts > 0) & (truth == 1)])
    assert areas.elsewhere_km2 == ((parts > 0) & ~np.isin(parts, touched)).sum()


@given(PAIRS)
def test_every_pixel_belongs_to_a_glacier_that_is_nearest_but_for_the_chamfer_error(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    truth = pair[1]
    glaciers = glaciers_by_part(truth, 1.0)
    if not glaciers.ids:
        assert not glaciers.nearest.any()
        return
    distances = np.stack(
        [ndimage.distance_transform_edt(glaciers.inside != i + 1) for i in range(len(glaciers.ids))]
    )
    chosen = np.take_along_axis(distances, glaciers.nearest[None].astype(int) - 1, axis=0)[0]
    assert (chosen <= distances.min(axis=0) * 1.05 + 1e-9).all()


def test_share_within_five_percent_is_of_whole_glaciers() -> None:
    truth = np.zeros((30, 60), np.uint8)
    truth[2:12, 2:12] = 1
    truth[2:12, 22:32] = 1
    truth[2:12, 42:52] = 1
    predicted = truth.copy()
    predicted[2, 2:7] = 0  # 5 % less
    predicted[2, 22:28] = 0  # 6 % less
    predicted[2, 42:] = 255  # cut
    predicted[25:27, 10:12] = 1
    areas = glacier_areas(predicted, truth, glaciers_by_part(truth, 0.001), 0.001)
    assert areas.share_close == 0.5
    assert areas.counted == 2
    assert areas.elsewhere_km2 == pytest.approx(0.004)
    assert [one.deviation_percent for one in areas.glaciers] == pytest.approx([-5, -6, 0])
    assert areas.deviation_percent == pytest.approx(100 * (283 / 290 - 1))


def test_no_glacier_has_no_deviation() -> None:
    nothing = np.zeros((4, 4), np.uint8)
    areas = glacier_areas(nothing + np.uint8(1), nothing, glaciers_by_part(nothing, 1.0), 1.0)
    assert areas.glaciers == ()
    assert areas.elsewhere_km2 == 16
    assert np.isnan(areas.deviation_percent)
    assert np.isnan(areas.share_close)


def test_outlines_keep_their_ids_and_whole_areas() -> None:
    grid = utm_grid(20, 20)
    left, top = grid.transform * (0, 0)
    boxes = [
        shapely.box(left - 500, top - 100, left + 50, top),
        shapely.box(left + 50, top - 50, left + 90, top),
    ]
    table = gpd.GeoDataFrame({OUTLINE_ID: ["RGI60-15.1", "RGI60-15.2"]}, geometry=boxes, crs="EPSG:32643")
    glaciers = glaciers_by_outline(table, grid, [0.055, 0.002])
    assert glaciers.ids == ("RGI60-15.1", "RGI60-15.2")
    assert np.bincount(glaciers.inside.ravel()).tolist() == [400 - 50 - 20, 50, 20]
    assert glaciers.areas_km2.tolist() == [0.055, 0.002]
    assert glaciers_by_outline(table, grid).areas_km2 == pytest.approx([0.005, 0.002])


@pytest.mark.parametrize(("dx", "dy"), [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_what_the_scene_cuts_is_not_whole(dx: int, dy: int) -> None:
    grid = utm_grid(20, 20)
    left, bottom, right, top = grid.bounds
    inside = shapely.box(left, bottom, right, top)  # up to the rim, but not beyond
    beyond = shapely.affinity.translate(
        shapely.box(left + 30, bottom + 30, right - 30, top - 30), 60 * dx, 60 * dy
    )
    truth = np.ones(grid.shape, np.uint8)
    for shape, whole in ((inside, True), (beyond, False)):
        table = gpd.GeoDataFrame({"id": [1]}, geometry=[shape], crs="EPSG:32643")
        glaciers = glaciers_by_outline(table, grid)
        found = glacier_areas(truth, (glaciers.inside > 0).astype(np.uint8), glaciers, grid.pixel_area_km2)
        assert [one.whole for one in found.glaciers] == [whole]
        assert found.counted == whole
