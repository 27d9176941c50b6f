from pathlib import Path

import numpy as np

from glacierseg.raster.made import Record, word_for
from tests.helpers import write_mask


def test_a_result_is_up_to_date_while_it_is_there_and_made_of_the_same(tmp_path: Path) -> None:
    record, result = Record(tmp_path / "stages.json"), tmp_path / "result.tif"
    assert not record.is_up_to_date("refine", [result], "a")
    record.store("refine", "a", ["one", "two"])
    record.store("draw", "b")
    assert not record.is_up_to_date("refine", [result], "a")  # nobody wrote it
    result.touch()
    assert record.is_up_to_date("refine", [result], "a")
    assert not record.is_up_to_date("refine", [result], "b")
    assert record.notes("refine") == ("one", "two")
    assert record.notes("draw") == record.notes("unknown") == ()


def test_a_record_that_is_cut_short_counts_as_none(tmp_path: Path) -> None:
    record = Record(tmp_path / "stages.json")
    for text in ('{"refine": {"made', "[1]", '{"refine": 3}'):
        record.path.write_text(text)
        assert not record.is_up_to_date("refine", [], "a")
    record.store("refine", "a")
    assert record.is_up_to_date("refine", [], "a")


def test_the_word_follows_content_and_settings_and_not_the_place(tmp_path: Path) -> None:
    folder, moved = tmp_path / "a", tmp_path / "b"
    for place in (folder, moved):
        (place / "images").mkdir(parents=True)
        write_mask(place / "mask.tif", np.eye(20, dtype=np.uint8))
        (place / "images" / "one.jp2").write_bytes(b"pixels")
    mask, images = folder / "mask.tif", folder / "images"
    word = word_for([mask, images], {"iterations": 1})
    assert word == word_for([moved / "mask.tif", moved / "images"], {"iterations": 1})
    assert word != word_for([mask, images], {"iterations": 2})
    assert word != word_for([mask], {"iterations": 1})
    (images / "one.jp2").rename(images / "two.jp2")
    renamed = word_for([mask, images], {"iterations": 1})
    (images / "two.jp2").write_bytes(b"others")
    rewritten = word_for([mask, images], {"iterations": 1})
    (folder / "mask.tif.aux.xml").write_text("<PAMDataset/>")
    assert len({word, renamed, rewritten, word_for([mask, images], {"iterations": 1})}) == 4
