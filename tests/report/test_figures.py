import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glacierseg.cli import app
from glacierseg.errors import RequestError
from glacierseg.report import figures
from glacierseg.report.figures.gallery import pick_windows
from glacierseg.report.views import RegionView
from glacierseg.runs.results import RunResults
from tests.helpers import present
from tests.report.conftest import GRID


@pytest.fixture(scope="module")
def run(whole_run: Path) -> RunResults:
    return figures.open_run(whole_run)


@pytest.fixture(scope="module")
def view(run: RunResults) -> RegionView:
    return figures.open_region(run, "khumbu")


NAMES = {
    "scores", "curves", "importance", "khumbu_map", "khumbu_patches", "khumbu_statistics", "khumbu_errors",
    "khumbu_boundary", "worst_1",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "begin"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_command_writes_every_figure(whole_run: Path, tmp_path: Path, kind: str, begin: bytes) -> None:
    asked = CliRunner().invoke(app, ["figures", str(whole_run), "--out", str(tmp_path), "--format", kind])
    assert asked.exit_code == 0, asked.output
    files = {path.stem: path for path in tmp_path.iterdir()}
    assert set(files) >= NAMES
    assert all(path.suffix == f".{kind}" and path.read_bytes().startswith(begin) for path in files.values())


def test_png_has_300_dots_per_inch(run: RunResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = figures.figure_region(figures.open_region(run, "khumbu"))
    monkeypatch.setattr(figures, "run_figures", lambda _: iter([("map", drawn)]))
    (path,) = figures.write_figures(run.folder.path, tmp_path)
    image = Image.open(path)
    assert image.info["dpi"][0] == pytest.approx(300, abs=1)
    assert image.width == round(300 * drawn.get_figwidth())


def test_unknown_formats_and_regions_are_refused(run: RunResults, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of png, svg, pdf"):
        figures.write_figures(run.folder.path, tmp_path, kind="bmp")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=re.escape("region 'alps'; it has khumbu")):
        figures.open_region(run, "alps")


def test_map_has_coordinates_scale_and_north(run: RunResults, view: RegionView) -> None:
    figure = figures.figure_region(view, ("glavitu", "all", "raw"))
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    for at, text in zip(axes.get_xticks(), labels, strict=True):
        assert at == float(text.replace("\u2009", ""))
    left, bottom, right, top = GRID.bounds
    assert tuple(axes.images[0].get_extent()) == (left, right, bottom, top)
    assert (*axes.get_xlim(), *axes.get_ylim()) == (left, right, bottom, top)
    assert len(labels) >= 2
    words = {text.get_text() for text in axes.texts}
    assert {"N", "200 m"} <= words or {"N", "500 m"} <= words or any("km" in word for word in words)


def test_patches_lie_within_the_scene_and_apart(view: RegionView) -> None:
    windows = pick_windows(view, 16, 8)
    assert len(windows) == 8
    taken = np.zeros(GRID.shape, int)
    for window in windows:
        taken[window.toslices()] += 1
    assert taken.max() == 1
    assert taken.sum() == 8 * 16 * 16
    truth = present(view.truth)
    shares = [(truth[window.toslices()] == 1).mean() for window in windows]
    assert 0.1 < shares[0] < 0.9
    assert pick_windows(view, 1000, 8)[0].width == GRID.width


def test_statistics_count_the_classes(view: RegionView) -> None:
    left = figures.figure_statistics(view).axes[0]
    bars: list[Any] = list(left.patches)
    widths = [bar.get_width() for bar in bars]
    roles, truth = view.roles, present(view.truth)
    expected = [100 * (truth[roles == code] == kind).mean() for code in (1, 2, 3) for kind in (1, 0, 255)]
    assert widths == pytest.approx(expected)


def test_boundary_needs_its_layers(view: RegionView, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no layer 'raw'"):
        figures.figure_boundary(view, tmp_path / "none.gpkg")
