"""Pictures as data that a page can hold within itself."""

import base64
import io
import re

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

_FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


def figure_to_svg(figure: Figure) -> str:
    """Returns a figure of lines and words as a data URI, sharp at any size and in the reader's own font."""
    buffer = io.BytesIO()
    # Words stay words: outlines of letters would make the file several times larger.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "glacierseg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"font-family: [^;\"]+", f"font-family: {_FONTS}", buffer.getvalue().decode())
    return _data_uri(text.encode(), "image/svg+xml")


def figure_to_webp(figure: Figure, dpi: int = 140) -> str:
    """Returns a figure with images in it as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"quality": 82, "method": 4})
    return _data_uri(buffer.getvalue(), "image/webp")


def photo_to_webp(pixels: NDArray[np.uint8], quality: int = 80) -> str:
    """Returns a photograph as a data URI.

    Args:
        pixels: `(H, W, 4)` red, green, blue and opacity.
        quality: 0-100.
    """
    return _webp(pixels, lossless=False, quality=quality)


def overlay_to_webp(pixels: NDArray[np.uint8]) -> str:
    """Returns an image of few colours as a data URI without loss.

    Args:
        pixels: `(H, W, 4)` red, green, blue and opacity.
    """
    return _webp(pixels, lossless=True, quality=60)


def grey_to_webp(pixels: NDArray[np.uint8], quality: int = 70) -> str:
    """Returns a grey image as a data URI.

    Args:
        pixels: `(H, W)`.
        quality: 0-100.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels, "L").save(buffer, "WEBP", quality=quality, method=3)
    return _data_uri(buffer.getvalue(), "image/webp")


def _webp(pixels: NDArray[np.uint8], *, lossless: bool, quality: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "WEBP", lossless=lossless, quality=quality, method=3)
    return _data_uri(buffer.getvalue(), "image/webp")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
