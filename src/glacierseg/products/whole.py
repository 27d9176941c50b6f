"""Whether the file of an image holds all the pixels that it lists, where no checksum says so.

GDAL opens a file that is cut short or has lost a part in between. In JPEG 2000 each tile gives the start of
the next one, in TIFF a table gives that of every tile, so a few bytes of each show it. Bytes that were
changed in place are not found.
"""

import struct
from typing import IO, Any

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_START, _TILE_PART, _END = 0xFF4F, 0xFF90, 0xFFD9
_SHORTEST_TILE_PART = 14
_ORDERS = {b"II": "<", b"MM": ">"}
# Tags of where parts of an image lie and how long they are: strips, tiles.
_PARTS = ((273, 279), (324, 325))
_NUMBERS = {3: "H", 4: "I", 16: "Q"}


def is_whole(file: IO[bytes]) -> bool:
    """Whether an image, GeoTIFF or JPEG 2000, holds all pixels that it lists.

    Args:
        file: The image, open for reading.
    """
    start = file.read(len(_JP2_SIGNATURE))
    try:
        return _jp2_is_whole(file) if start == _JP2_SIGNATURE else _tiff_is_whole(file, start[:2])
    except (struct.error, KeyError, OverflowError):
        return False


def _unpack(file: IO[bytes], place: int, layout: str) -> tuple[Any, ...]:
    file.seek(place)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _jp2_is_whole(file: IO[bytes]) -> bool:
    """Goes from box to box, to the one of the pixels."""
    place = len(_JP2_SIGNATURE)
    while True:
        length, kind = _unpack(file, place, ">I4s")
        header = 8
        if length == 1:
            (length,), header = _unpack(file, place + 8, ">Q"), 16
        if kind == b"jp2c":
            return _codestream_is_whole(file, place + header)
        if length < header:
            return False
        place += length


def _codestream_is_whole(file: IO[bytes], place: int) -> bool:
    """Goes over the main header, then from one part of a tile to the next, to the marker of the end."""
    marker: int
    (marker,) = _unpack(file, place, ">H")
    if marker != _START:
        return False
    place += 2
    while (marker := _unpack(file, place, ">H")[0]) != _TILE_PART:
        (length,) = _unpack(file, place + 2, ">H")
        if marker < _START or length < 2:
            return False
        place += 2 + length
    while marker == _TILE_PART:
        (length,) = _unpack(file, place + 6, ">I")
        if not length:  # the last one, which reaches to the end
            return _unpack(file, file.seek(0, 2) - 2, ">H") == (_END,)
        if length < _SHORTEST_TILE_PART:
            return False
        place += length
        (marker,) = _unpack(file, place, ">H")
    return marker == _END


def _tiff_is_whole(file: IO[bytes], mark: bytes) -> bool:
    """Looks for the last byte of the tiles or strips of the first image."""
    order = _ORDERS[mark]
    (version,) = _unpack(file, 2, order + "H")
    is_big = version == 43
    (place,) = _unpack(file, 8, order + "Q") if is_big else _unpack(file, 4, order + "I")
    (count,) = _unpack(file, place, order + ("Q" if is_big else "H"))
    place += 8 if is_big else 2
    entry, size = (order + "HHQ", 20) if is_big else (order + "HHI", 12)
    entries = {}
    for start in range(place, place + count * size, size):
        tag, kind, values = _unpack(file, start, entry)
        entries[tag] = start, kind, values

    def numbers(tag: int) -> tuple[int, ...]:
        start, kind, values = entries[tag]
        layout = f"{order}{values}{_NUMBERS[kind]}"
        start += 12 if is_big else 8
        if struct.calcsize(layout) > (8 if is_big else 4):
            (start,) = _unpack(file, start, order + ("Q" if is_big else "I"))
        return _unpack(file, start, layout)

    places, lengths = next(tags for tags in _PARTS if tags[0] in entries)
    # Tiles of length 0 are not stored, and have no data.
    ends = [at + length for at, length in zip(numbers(places), numbers(lengths), strict=True) if length]
    file.seek(max(ends, default=1) - 1)
    return len(file.read(1)) == 1
