from pathlib import Path

import numpy as np
import pytest

from glacierseg.report.figures.scores import (
    buffers_picture,
    figure_buffers,
    figure_reliability,
    figure_scores,
    read_buffers,
    read_reliability,
)
from glacierseg.report.page import render
from glacierseg.runs.layout import ModelFolder
from glacierseg.runs.results import RunResults, read_results
from tests.helpers import present

HEAD = "model,bands,region,role,stage,polis_m,iou_buffer_10m,iou_grown_10m,iou_shrunk_10m,iou_buffer_20m"


def test_scores_are_drawn_where_they_are(whole_run: Path) -> None:
    results = read_results(whole_run)
    test = [score for score in results.scores if score.role == "test"]
    axes = figure_scores(test).axes[0]
    dots = {float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() == "o"}
    assert dots == {score.get("iou") for score in test if score.model != "threshold"}
    lines = {
        float(np.asarray(line.get_xdata())[0])
        for line in axes.lines
        if line.get_marker() == "None" and len(set(np.asarray(line.get_xdata()))) == 1
    }
    assert lines >= {score.get("iou") for score in test if score.model == "threshold"}


@pytest.fixture
def run(run_dir: Path) -> RunResults:
    (run_dir / "boundaries.csv").write_text(
        f"{HEAD}\n"
        "unetplusplus,all,khumbu,test,raw,50,0.1,0.1,0.1,0.1\n"
        "unetplusplus,all,khumbu,test,refined,50,0.95,0.82,0.71,0.975\n"
        "unetplusplus,all,khumbu,train,refined,50,0.2,0.2,0.2,0.2\n"
        "unknown,all,khumbu,test,refined,50,0.2,0.2,0.2,0.2\n"
        "threshold,all,khumbu,test,refined,50,,,,\n"
    )
    return read_results(run_dir)


def test_refined_masks_of_the_part_are_read_with_the_plain_iou_at_zero(run: RunResults) -> None:
    (line,) = read_buffers(run, "test")
    (plain,) = (
        score.get("iou")
        for score in run.scores
        if score.variant == ("unetplusplus", "all", "refined")
        and (score.region, score.role) == ("khumbu", "test")
    )
    assert (line.region, line.model, line.bands) == ("khumbu", "unetplusplus", "all")
    assert line.forgiven == [(0.0, plain), (10.0, 0.95), (20.0, 0.975)]
    assert line.moved == [(-10.0, 0.71), (0.0, plain), (10.0, 0.82)]


def test_the_figure_draws_these_numbers(run: RunResults) -> None:
    lines = read_buffers(run, "test")
    left, right = figure_buffers(lines).axes
    assert list(zip(*map(np.asarray, left.lines[0].get_data()), strict=True)) == lines[0].forgiven
    assert list(zip(*map(np.asarray, right.lines[0].get_data()), strict=True)) == lines[0].moved


def test_the_page_has_the_picture_where_there_are_buffers(run: RunResults, run_dir: Path) -> None:
    picture = present(buffers_picture(run))
    assert "20 m 0.975" in picture.alt
    assert picture.alt in render(run)
    (run_dir / "boundaries.csv").unlink()
    assert buffers_picture(read_results(run_dir)) is None


def test_reliability_is_pooled_over_regions_by_pixels(tmp_path: Path) -> None:
    (tmp_path / "reliability.csv").write_text(
        "region,role,kind,lower,upper,pixels,confidence,glacier_share\n"
        "a,test,raw,0.0,0.5,100,0.2,0.1\n"
        "b,test,raw,0.0,0.5,300,0.4,0.5\n"
        "b,test,raw,0.5,1.0,0,nan,nan\n"
        "a,test,calibrated,0.5,1.0,10,0.9,0.8\n"
        "a,train,raw,0.0,0.5,100,0.9,0.9\n"
    )
    points = read_reliability(ModelFolder(tmp_path), "test")
    assert [(p.kind, p.pixels) for p in points] == [("calibrated", 10), ("raw", 400)]
    assert points[1].confidence == pytest.approx(0.35)
    assert points[1].glacier_share == pytest.approx(0.4)
    assert read_reliability(ModelFolder(tmp_path), "validate") == []
    figure = figure_reliability({"UNet++": points})
    drawn = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in figure.axes[0].lines}
    assert drawn["raw"] == [pytest.approx([0.35, 0.4])]
