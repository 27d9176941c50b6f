from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glacierseg.errors import RequestError
from glacierseg.raster.made import Record, digest_of_inputs
from tests.helpers import write_mask


def stage(result: Path, value: int = 1, notes: tuple[str, ...] = ()) -> Callable[[], tuple[str, ...]]:
    """Makes a mask of one value."""

    def make() -> tuple[str, ...]:
        write_mask(result, np.full((20, 20), value, np.uint8))
        return notes

    return make


def fails() -> tuple[str, ...]:
    raise KeyboardInterrupt


def test_a_result_is_made_once_from_the_same(tmp_path: Path) -> None:
    record, result = Record(tmp_path / "stages.json"), tmp_path / "result.tif"
    assert record.made("refine", result, "a", stage(result, notes=("one", "two")))
    assert not record.made("refine", result, "a", fails)
    assert record.made("refine", result, "b", stage(result))
    result.unlink()
    assert record.made("refine", result, "b", stage(result, notes=("three",)))
    assert Record(record.path).notes("refine") == ("three",)
    assert record.notes("unknown") == ()
    assert Record(record.path, again=True).made("refine", result, "b", stage(result))


def test_an_interrupted_stage_is_made_again(tmp_path: Path) -> None:
    record, result = Record(tmp_path / "stages.json"), tmp_path / "result.tif"
    assert record.made("refine", result, "a", stage(result))
    with pytest.raises(KeyboardInterrupt):
        record.made("refine", result, "b", lambda: (*stage(result, 0)(), *fails()))
    # Neither what was there before nor what was written meanwhile counts as made.
    for inputs in ("a", "b"):
        assert record.made("refine", result, inputs, stage(result))


def test_what_was_corrected_or_is_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    record, result = Record(tmp_path / "stages.json"), tmp_path / "result.tif"
    stage(result)()
    with pytest.raises(RequestError, match="exists already and is not from this command"):
        record.made("refine", result, "a", fails)
    assert Record(record.path, again=True).made("refine", result, "a", stage(result))
    stage(result, 0)()
    assert not record.made("refine", result, "a", fails)  # corrected, and still of the same
    with pytest.raises(RequestError, match="was changed since it was made"):
        record.made("refine", result, "b", fails)
    # Programs write into a GeoPackage that is only looked at.
    outlines = tmp_path / "outlines.gpkg"
    assert record.made("draw", outlines, "a", stage(outlines))
    outlines.write_text("looked at")
    assert record.made("draw", outlines, "b", stage(outlines))


def test_a_record_that_is_cut_short_tells_nothing(tmp_path: Path) -> None:
    record, result = Record(tmp_path / "stages.json"), tmp_path / "result.tif"
    for text in ('{"refine": {"made', "[1]", '{"refine": 3}'):
        record.path.write_text(text)
        assert record.made("refine", result, "a", stage(result))
        result.unlink()


def test_the_word_follows_content_and_settings_and_not_the_place(tmp_path: Path) -> None:
    folder, moved = tmp_path / "a", tmp_path / "b"
    for place in (folder, moved):
        (place / "images").mkdir(parents=True)
        write_mask(place / "mask.tif", np.eye(20, dtype=np.uint8))
        (place / "images" / "one.jp2").write_bytes(b"pixels")
    mask, images = folder / "mask.tif", folder / "images"
    inputs = digest_of_inputs([mask, images], {"iterations": 1})
    assert inputs == digest_of_inputs([moved / "mask.tif", moved / "images"], {"iterations": 1})
    assert inputs != digest_of_inputs([mask, images], {"iterations": 2})
    assert inputs != digest_of_inputs([mask], {"iterations": 1})
    (images / "one.jp2").rename(images / "two.jp2")
    renamed = digest_of_inputs([mask, images], {"iterations": 1})
    (images / "two.jp2").write_bytes(b"others")
    rewritten = digest_of_inputs([mask, images], {"iterations": 1})
    (folder / "mask.tif.aux.xml").write_text("<PAMDataset/>")
    assert len({inputs, renamed, rewritten, digest_of_inputs([mask, images], {"iterations": 1})}) == 4
