import pytest

from glacierseg.report.buffers import figure_buffers, read_buffers
from glacierseg.report.more_pictures import buffers_picture
from glacierseg.report.page import render
from glacierseg.runs.read import read_results

HEAD = "model,bands,region,role,stage,polis_m,iou_buffer_10m,iou_grown_10m,iou_shrunk_10m,iou_buffer_20m"


@pytest.fixture
def run(run_dir):
    (run_dir / "boundaries.csv").write_text(
        f"{HEAD}\n"
        "unetplusplus,all,khumbu,test,raw,50,0.1,0.1,0.1,0.1\n"
        "unetplusplus,all,khumbu,test,refined,50,0.95,0.82,0.71,0.975\n"
        "unetplusplus,all,khumbu,train,refined,50,0.2,0.2,0.2,0.2\n"
        "unknown,all,khumbu,test,refined,50,0.2,0.2,0.2,0.2\n"
        "threshold,all,khumbu,test,refined,50,,,,\n"
    )
    return read_results(run_dir)


def test_refined_masks_of_the_part_are_read_with_the_plain_iou_at_zero(run):
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


def test_the_figure_draws_these_numbers(run):
    lines = read_buffers(run, "test")
    left, right = figure_buffers(lines).axes
    assert list(zip(*left.lines[0].get_data(), strict=True)) == lines[0].forgiven
    assert list(zip(*right.lines[0].get_data(), strict=True)) == lines[0].moved


def test_the_page_has_the_picture_where_there_are_buffers(run, run_dir):
    picture = buffers_picture(run)
    assert "20 m 0.975" in picture.alt
    assert picture.alt in render(run)
    (run_dir / "boundaries.csv").unlink()
    assert buffers_picture(read_results(run_dir)) is None
