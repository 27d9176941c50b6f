from pathlib import Path

import numpy as np

from glacierseg.predict.strips_folder import StripsFolder


def test_strips_of_what_was_given_up_do_not_mix_with_others(tmp_path: Path) -> None:
    folder = tmp_path / ".valley.strips"
    old = StripsFolder(folder, {"overlap": 0.5})
    new = StripsFolder(folder, {"overlap": 0.25})
    old.write(0, np.zeros((1, 2, 3), np.float32))
    assert new.missing(1) == [0]
    new.remove_if_empty()
    assert not folder.exists()
