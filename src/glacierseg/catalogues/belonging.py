"""Whether the files of an item are of its own image, as far as their names and folders say."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import PurePosixPath

# `T45RVL_20240930T045659_B02_10m.tif`, and folders such as `S2B_45RVL_20240930_0_L2A`.
_IMAGE = re.compile(r"(?:L2A_)?(T\d{2}[A-Z]{3})_(\d{8}T\d{6})_(?:B\d|SCL).*")
_FOLDER = re.compile(r"S2[A-D]_T?(\d{2}[A-Z]{3})_(\d{8})(?:[T_].*)?")
# A folder has the day on which the tile was seen, and a product that on which the recording began.
_DAY = timedelta(days=1)


def of_another_image(paths: Iterable[str], product: re.Match[str]) -> str | None:
    """Returns the first of some files that is of another product, tile, day or recording by its path.

    Args:
        paths: The files.
        product: The name of the product, with its tile and the beginning of the recording as `take`; other
            names are found by the same pattern.
    """
    tile, take = product["tile"], product["take"]
    for path in paths:
        for part in PurePosixPath(path).parts:
            name, image, folder = product.re.match(part), _IMAGE.fullmatch(part), _FOLDER.fullmatch(part)
            if name and name[0] != product[0]:
                return path
            if image and (image[1], image[2]) != (tile, take):
                return path
            if folder and not (f"T{folder[1]}" == tile and _are_near(folder[2], take[:8])):
                return path
    return None


def _are_near(day: str, other: str) -> bool:
    try:
        # Eight digits are a day in ISO 8601 too.
        return abs(date.fromisoformat(day) - date.fromisoformat(other)) <= _DAY
    except ValueError:
        # Its digits are no day.
        return True
