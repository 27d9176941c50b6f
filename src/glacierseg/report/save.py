"""Figures as files, and as data that a page can hold within itself."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from glacierseg.errors import RequestError
from glacierseg.raster.write import atomic_path

SUFFIXES = (".png", ".svg", ".pdf")
# Words stay words: outlines of letters would make the file several times larger. Without a random salt the
# same figure gives the same bytes.
_WORDS: Any = {"svg.fonttype": "none", "svg.hashsalt": "glacierseg", "pdf.fonttype": 42}
_FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a figure whole or not at all; words in SVG and PDF stay words.

    Args:
        figure: What to write.
        path: Its suffix selects PNG, SVG or PDF.
        dpi: Pixels per inch of a PNG.

    Raises:
        RequestError: The suffix is none of these.
        OutputError: The file cannot be written.
    """
    require_picture(path)
    kind = path.suffix.lower().removeprefix(".")
    # Without the time of writing: the same figure gives the same bytes.
    stamp = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with atomic_path(path) as part, mpl.rc_context(_WORDS):
        figure.savefig(part, format=kind, dpi=dpi, metadata=stamp)


def require_picture(path: Path) -> None:
    """Raises RequestError when a file name is not that of a picture, before any work is done for it."""
    if path.suffix.lower() not in SUFFIXES:
        raise RequestError(
            f"{path}: the name of a picture must end in {', '.join(SUFFIXES)}; choose one of these"
        )


@dataclass(frozen=True)
class Picture:
    """A figure in the page.

    Attributes:
        figure: The figure.
        alt: Text for readers who cannot see it.
        caption: Text below it.
        has_image: Whether it contains images, so that it is stored as pixels and not as lines.
    """

    figure: Figure
    alt: str
    caption: str
    has_image: bool = False

    @property
    def uri(self) -> str:
        """The figure as data; drawn when it is asked for."""
        return figure_to_webp(self.figure) if self.has_image else figure_to_svg(self.figure)

    @property
    def width_px(self) -> int:
        """Width at which its text has the intended size."""
        return round(96 * self.figure.get_figwidth())


def figure_to_svg(figure: Figure) -> str:
    """Returns a figure of lines and words as a data URI, sharp at any size and in the reader's own font."""
    buffer = io.BytesIO()
    with mpl.rc_context(_WORDS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"font-family: [^;\"]+", f"font-family: {_FONTS}", buffer.getvalue().decode())
    return _data_uri(text.encode(), "image/svg+xml")


def figure_to_webp(figure: Figure) -> str:
    """Returns a figure with images in it as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", dpi=140, pil_kwargs={"quality": 82, "method": 4})
    return _data_uri(buffer.getvalue(), "image/webp")


def photo_to_webp(pixels: NDArray[np.uint8], quality: int = 80) -> str:
    """Returns a photograph, `(H, W, 4)` with opacity or `(H, W)` grey, as a data URI; quality is 0-100."""
    return _webp(pixels, quality=quality)


def overlay_to_webp(pixels: NDArray[np.uint8]) -> str:
    """Returns an image `(H, W, 4)` of few colours as a data URI without loss."""
    return _webp(pixels, lossless=True, quality=60)


def _webp(pixels: NDArray[np.uint8], **options: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", method=3, **options)
    return _data_uri(buffer.getvalue(), "image/webp")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
