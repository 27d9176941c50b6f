import json

import geopandas as gpd
import pyogrio
import pytest

from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_json
from glacierseg.refine.files import tune_record
from glacierseg.refine.search import tune_refinement
from glacierseg.report.map_data import glacier_layers
from glacierseg.report.more_pictures import measure_pictures, steps_pictures, surface_picture
from glacierseg.report.page import render
from glacierseg.report.pictures import importance_picture
from glacierseg.report.views import view_region
from glacierseg.runs.read import read_results

BEST = ("unetplusplus", "all", "refined")
FOLDER = "unetplusplus/all"


@pytest.fixture
def measured(run_dir):
    """A run whose UNet++ has two measures of band importance."""
    (run_dir / FOLDER / "band_importance.csv").write_text(
        "rank,band,importance,spread,measure,standard_error,region_spread,"
        "permutation_rank,permutation,permutation_spread,permutation_standard_error,permutation_region_spread\n"
        "1,nir,0.5,0.1,gradient,0.01,,3,0.01,0.1,0.02,\n"
        "2,green,0.3,0.1,gradient,0.01,,1,0.30,0.1,0.02,\n"
        "3,red,0.2,0.1,gradient,0.01,,2,0.20,0.1,0.02,\n"
    )
    return run_dir


@pytest.fixture
def tuned(run_dir):
    """A run whose UNet++ was refined with a recorded search."""
    mask = read_mask(run_dir / FOLDER / "khumbu_mask.tif")
    truth = read_mask(run_dir / "regions/khumbu_truth.tif")
    found = tune_refinement(mask, truth, (30, 30), merge_distances_m=(0, 30), min_areas_km2=(0, 0.03))
    record = tune_record(found) | {"tuned_on": ["khumbu"], "table": found.table}
    write_json(run_dir / FOLDER / "refinement.json", record)
    return run_dir


def test_a_network_with_several_measures_is_drawn_once(measured):
    results = read_results(measured)
    (picture,) = measure_pictures(results)
    panels = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert panels == ["Gradient", "Permutation"]
    assert "gradient: nir, green" in picture.alt
    assert "permutation: green, red" in picture.alt
    other = importance_picture(results)
    assert [axes.get_title(loc="left") for axes in other.figure.axes] == ["GLAVITU"]
    assert render(results).count("best 2 by gradient") == 1


def test_bands_without_measurable_importance_are_drawn_as_outlines_and_named(measured):
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
    assert [bar.get_facecolor()[3] for bar in first.patches] == [1, 1, 0]
    assert [text.get_text() for text in first.texts] == ["1 (1-2)", "2 (1-2)", "none"]
    assert [text.get_text() for text in other.texts] == ["3", "1", "2"]  # an older table tests nothing


def test_one_measure_has_no_picture_of_several(run_dir):
    assert measure_pictures(read_results(run_dir)) == []


def test_the_search_is_drawn_where_it_was_recorded(tuned):
    results = read_results(tuned)
    picture = surface_picture(results, BEST)
    assert "what every combination that was tried" in picture.caption
    assert f"best {results.model(*BEST[:2]).refinement['best_iou']:.3f}" in picture.figure.get_suptitle()
    assert surface_picture(results, None) is None
    assert surface_picture(results, ("glavitu", "all", "refined")) is None  # its table is empty


def test_a_search_of_an_earlier_version_is_left_out(tuned):
    path = tuned / FOLDER / "refinement.json"
    record = json.loads(path.read_text())
    for row in record["table"]:
        del row["f1"]
    path.write_text(json.dumps(record))
    assert surface_picture(read_results(tuned), BEST) is None


def test_steps_that_changed_nothing_are_only_named(tuned):
    results = read_results(tuned)
    path = tuned / FOLDER / "refinement.json"
    record = json.loads(path.read_text())
    record["best"] |= {"merge_distance_m": 0.0, "iterations": 0, "min_area_km2": 0.03, "max_hole_km2": 0.0}
    path.write_text(json.dumps(record))
    results = read_results(tuned)
    views = [view_region(results, results.regions[0])]
    (picture,) = steps_pictures(results, views, BEST)
    shown = [title for axes in picture.figure.axes if ":" in (title := axes.get_title(loc="left"))]
    assert [title.split(":")[0] for title in shown] == ["remove"]
    assert picture.caption.endswith("No change by: merge, smooth, fill.")
    record["best"]["min_area_km2"] = 0.0
    path.write_text(json.dumps(record))
    assert steps_pictures(read_results(tuned), views, BEST) == []
    record["best"]["max_hole_slope_deg"] = 20.0  # needs an elevation model, which the run does not keep
    path.write_text(json.dumps(record))
    assert steps_pictures(read_results(tuned), views, BEST) == []
    assert steps_pictures(results, views, None) == []


def test_the_inventory_is_a_layer_of_refined_masks(run_dir):
    results = read_results(run_dir)
    view = view_region(results, results.regions[0])
    assert not any(key.endswith("inventory") for key in glacier_layers(results, view, 10**6))
    assert 'value="inventory"' not in render(results)
    outlines = run_dir / FOLDER / "khumbu.gpkg"
    table = gpd.read_file(outlines, layer="refined").assign(zmin_m=4321.0)
    pyogrio.write_dataframe(table, run_dir / FOLDER / "khumbu_inventory.gpkg", layer="glaciers")
    layers = glacier_layers(results, view, 10**6)
    found = layers["unetplusplus-all-refined-inventory"]
    assert "zmin_m" in found.columns
    assert len(found.paths) == len(table)
    assert "unetplusplus-all-raw-inventory" not in layers
    assert 'value="inventory"' in render(results)
