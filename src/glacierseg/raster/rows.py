"""Writing a raster row by row, from top to bottom, and making a cloud-optimised GeoTIFF of it in one pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import to_cog

# ENVI's numbers and GDAL's names of the types that we write.
_TYPES = {"uint8": (1, "Byte"), "float32": (4, "Float32")}


class RowWriter:
    """Collects rows in a plain file with a header, which GDAL copies from.

    Compressing once takes half the time of writing a compressed GeoTIFF first.
    """

    def __init__(
        self,
        stem: Path,
        grid: Grid,
        *,
        bands: Sequence[str],
        dtype: str,
        nodata: float,
        scale: float = 1.0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Opens the file.

        Args:
            stem: Path without ending of what is written until `to_cog`.
            grid: Where the pixels lie.
            bands: One description per band.
            dtype: ``uint8`` or ``float32``.
            nodata: Value of pixels without data.
            scale: What values are multiplied with to get what they mean.
            tags: More facts to store in the file.
        """
        self._raw, self._vrt = stem.with_suffix(".raw"), stem.with_suffix(".vrt")
        self._dtype = dtype
        envi, name = _TYPES[dtype]
        stem.with_suffix(".hdr").write_text(
            f"ENVI\nsamples = {grid.width}\nlines = {grid.height}\nbands = {len(bands)}\nheader offset = 0\n"
            f"file type = ENVI Standard\ndata type = {envi}\ninterleave = bil\nbyte order = 0\n"
        )
        facts = "".join(
            f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in (tags or {}).items()
        )
        layers = "".join(
            f'<VRTRasterBand dataType="{name}" band="{number}"><Description>{escape(band)}</Description>'
            f"<NoDataValue>{nodata}</NoDataValue>"
            + (f"<Scale>{scale!r}</Scale>" if scale != 1 else "")
            + f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(self._raw.name)}</SourceFilename>'
            f"<SourceBand>{number}</SourceBand></SimpleSource></VRTRasterBand>"
            for number, band in enumerate(bands, start=1)
        )
        corners = ", ".join(repr(float(value)) for value in grid.transform.to_gdal())
        self._vrt.write_text(
            f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
            f"<SRS>{escape(grid.crs.to_wkt())}</SRS><GeoTransform>{corners}</GeoTransform>"
            f"<Metadata>{facts}</Metadata>{layers}</VRTDataset>",
            encoding="utf-8",
        )
        self._file = self._raw.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows `(bands, rows, W)` below the earlier ones."""
        self._file.write(np.ascontiguousarray(rows.transpose(1, 0, 2), self._dtype).data)

    def to_cog(self, target: Path, *, resampling: str) -> None:
        """Makes the GeoTIFF and removes what it is made from.

        Args:
            target: Its path.
            resampling: How overviews are made.
        """
        # GDAL takes a file of very few bytes for none of ENVI's; what lies beyond the last row is not read.
        self._file.write(bytes(16))
        self._file.close()
        to_cog(self._vrt, target, resampling=resampling)
        for path in (self._raw, self._vrt, self._raw.with_suffix(".hdr")):
            path.unlink()
