"""Every error that a user can meet, as a tree.

    GlaciersegError                 exit status 1, one line, no traceback
    ├── DataError                   a file is at fault
    │   ├── RasterError             not readable, truncated, without a CRS, ...
    │   │   └── GridMismatchError   two rasters that must lie on one grid do not
    │   ├── BandError               a band is missing, doubled or misnamed
    │   ├── ValuesError             values in another unit or range than expected
    │   ├── TruthError              a mask or outlines that cannot be used as truth
    │   ├── CheckpointError         a model folder that cannot be used
    │   └── ProductError            an agency's product that cannot be used
    ├── RequestError                what was asked for cannot be done
    │   ├── ConfigError             the configuration is wrong
    │   └── UnknownModelError       no network of that name
    ├── OutputError                 a result cannot be written
    └── DownloadError               data could not be fetched

Each message names the file or key, says what is wrong and what to do, in one line.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class GlaciersegError(Exception):
    """Base of all errors that are the data's or the request's fault, not the program's."""


class GlaciersegWarning(UserWarning):
    """What a user should know though the work goes on; one line on the command line."""


class DataError(GlaciersegError):
    """A file is at fault."""


class RasterError(DataError):
    """A raster cannot be read or has no usable grid."""


class GridMismatchError(RasterError):
    """Two rasters that must lie on one grid do not."""


class BandError(DataError):
    """A band is missing, doubled or misnamed."""


class ValuesError(DataError):
    """Values in another unit or range than a network was trained on."""


class TruthError(DataError):
    """A mask or outlines that cannot be used as truth."""


class CheckpointError(DataError):
    """A model folder that cannot be used."""


class ProductError(DataError):
    """An agency's product cannot be used."""


class RequestError(GlaciersegError):
    """What was asked for cannot be done."""


class ConfigError(RequestError):
    """The configuration is wrong."""


class UnknownModelError(RequestError):
    """No network of that name exists."""


class OutputError(GlaciersegError):
    """A result cannot be written."""


class DownloadError(GlaciersegError):
    """Data could not be fetched."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` (did you mean 'x'?)`` for the closest of the `known` words, or an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
