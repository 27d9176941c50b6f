"""Writing figures to files."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from glacierseg.errors import RequestError
from glacierseg.raster.write import atomic_path

SUFFIXES = (".png", ".svg", ".pdf")


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a figure whole or not at all; words in SVG and PDF stay words.

    Args:
        figure: What to write.
        path: Its suffix says whether PNG, SVG or PDF.
        dpi: Pixels per inch of a PNG.

    Raises:
        RequestError: The suffix is none of these.
        OutputError: The file cannot be written.
    """
    require_picture(path)
    kind = path.suffix.lower().removeprefix(".")
    # Without the time of writing: the same figure gives the same bytes.
    stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    words: Any = {"svg.fonttype": "none", "svg.hashsalt": "glacierseg", "pdf.fonttype": 42}
    with atomic_path(path) as part, mpl.rc_context(words):
        figure.savefig(part, format=kind, dpi=dpi, metadata=stamp)


def require_picture(path: Path) -> None:
    """Raises RequestError when a file name is not that of a picture, before any work is done for it."""
    if path.suffix.lower() not in SUFFIXES:
        raise RequestError(
            f"{path}: pictures are written as {', '.join(SUFFIXES)}; choose one of these names"
        )
