"""Where training patches come from: scenes in memory, in a memory-mapped file, or read window by window.

Both copies of a scene hold all bands of a pixel side by side, `(H, W, C)`: a patch is then one short run of
bytes per row instead of one per row and band, and arrives as a network with channels last wants it.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Cache
from glacierseg.errors import RequestError
from glacierseg.raster.scene import Scene, SceneReader
from glacierseg.raster.write import atomic_path

_AUTO_BYTES = 2 * 1024**3

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]


class PixelStore:
    """Reads square windows of scenes. Copies of it in other processes open their own files."""

    def __init__(self, scenes: Sequence[Scene], cache: Cache = "auto", folder: Path | None = None) -> None:
        """Decides where pixels are kept; nothing is read yet.

        Args:
            scenes: The scenes.
            cache: ``memory``; ``disk``, memory-mapped files in `folder`, which every process of this machine
                shares; ``none``, an open handle per process; ``auto``, in memory up to 2 GiB, else none.
            folder: Where the files of ``disk`` go. Files of the same sources are used again.

        Raises:
            RequestError: `folder` is missing.
        """
        self.scenes = tuple(scenes)
        if cache == "auto":
            size = sum(
                scene.grid.height * scene.grid.width * (len(scene.bands) * scene.dtype.itemsize + 1)
                for scene in self.scenes
            )
            cache = "memory" if size <= _AUTO_BYTES else "none"
        if cache == "disk" and folder is None:
            raise RequestError("a cache on disk needs a folder; name one")
        self.cache = cache
        self._folder = folder
        self._whole: dict[int, Pixels] = {}
        self._readers: dict[int, SceneReader] = {}
        self._stack = ExitStack()
        self._owner = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files and pixels behind when a worker process gets a copy."""
        return {**self.__dict__, "_whole": {}, "_readers": {}, "_stack": None, "_owner": None}

    def fill(self) -> None:
        """Writes the files of ``disk`` that are not there yet."""
        if self.cache == "disk":
            for index in range(len(self.scenes)):
                self._mapped(index)

    def read(self, index: int, row: int, column: int, size_px: int) -> Pixels:
        """Reads a window, which may reach beyond the scene.

        Args:
            index: Of the scene.
            row: First row.
            column: First column.
            size_px: Side of the window.

        Returns:
            Values `(P, P, C)`, perhaps a view of what is kept, and valid `(P, P)`; beyond the rim as in
            `SceneReader.read`.
        """
        grid = self.scenes[index].grid
        inside = 0 <= row <= grid.height - size_px and 0 <= column <= grid.width - size_px
        if self.cache == "none" or not inside:
            values, valid = self._reader(index).read(row, column, size_px, size_px)
            return _interleaved(values), valid
        if index not in self._whole:
            self._whole[index] = self._mapped(index) if self.cache == "disk" else self._loaded(index)
        values, valid = self._whole[index]
        window = np.s_[row : row + size_px, column : column + size_px]
        return values[window], valid[window]

    def _loaded(self, index: int) -> Pixels:
        scene = self.scenes[index]
        values = np.empty((*scene.grid.shape, len(scene.bands)), scene.dtype)
        valid = np.empty(scene.grid.shape, bool)
        for rows, strip, strip_valid in self._strips(index):
            values[rows], valid[rows] = strip, strip_valid
        return values, valid

    def _mapped(self, index: int) -> Pixels:
        assert self._folder is not None  # noqa: S101  (checked in __init__)
        scene = self.scenes[index]
        stem = f"{scene.name}-{_fingerprint(scene)}"
        paths = self._folder / f"{stem}.values.npy", self._folder / f"{stem}.valid.npy"
        # Both are moved to their names together, the values last.
        if not paths[0].exists():
            with (
                atomic_path(paths[0]) as part,
                part.open("wb") as values_file,
                part.with_name(paths[1].name).open("wb") as valid_file,
            ):
                shape = scene.grid.shape
                _start(values_file, (*shape, len(scene.bands)), scene.dtype)
                _start(valid_file, shape, np.dtype(bool))
                # Written, not mapped: on a full disk a mapped page kills the process without a word.
                for _, strip, strip_valid in self._strips(index):
                    values_file.write(strip.data)
                    valid_file.write(strip_valid.data)
        values, valid = (np.load(path, mmap_mode="r") for path in paths)
        return values, valid

    def _strips(self, index: int) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.bool_]]]:
        for rows, values, valid in self._reader(index).strips():
            yield rows, _interleaved(values), np.ascontiguousarray(valid)

    def _reader(self, index: int) -> SceneReader:
        if self._owner != os.getpid():  # GDAL handles must not be shared between processes
            self._readers, self._stack, self._owner = {}, ExitStack(), os.getpid()
        if index not in self._readers:
            self._readers[index] = self._stack.enter_context(self.scenes[index].open())
        return self._readers[index]


def _interleaved(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def _start(file: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    np.lib.format.write_array_header_2_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )


def _fingerprint(scene: Scene) -> str:
    """Changes with the bands asked for and whenever a source file does."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in scene.files]
    layers = [(str(band.path), band.index, band.dtype, band.nodata) for band in scene.bands]
    return hashlib.sha256(repr((stats, layers)).encode()).hexdigest()[:16]
