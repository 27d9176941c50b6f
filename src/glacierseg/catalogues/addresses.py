"""Addresses of files: which can be read without an account, which need a token, and what is shown of them."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import url2pathname

from glacierseg.errors import DownloadError

# Buckets that everybody may read, and where they lie.
_OPEN_BUCKETS = {
    "copernicus-dem-30m": "eu-central-1",
    "copernicus-dem-90m": "eu-central-1",
    "e84-earth-search-sentinel-data": "us-west-2",
    "sentinel-cogs": "us-west-2",
}
# Buckets whose readers pay or need an account, and who wants it.
_PAID_BUCKETS = {
    "eodata": "needs an account at the Copernicus Data Space",
    "sentinel-s2-l1c": "is paid for by its readers",
    "sentinel-s2-l2a": "is paid for by its readers",
    "usgs-landsat": "is paid for by its readers",
}
# Parameters by which stores let somebody read for a while: of Azure, Amazon, Google, and of others.
_SIGNATURE = re.compile(
    r"(?:s[eiprstv]|s(?:ig|ip|pr|rt)|sk(?:oid|tid|[estv])|x-(?:amz|goog)-[\w-]+|awsaccesskeyid|signature|expires|policy"
    r"|key-pair-id|(?:access_)?token)=.*",
    re.IGNORECASE,
)
_PLANETARY = "planetarycomputer.microsoft.com"
_TOKENS = f"https://{_PLANETARY}/api/sas/v1/token"
_AZURE = ".blob.core.windows.net"


def shown(address: str) -> str:
    """Returns an address for people, files and keys: without what a signature adds, or a password."""
    if local_path(address) is not None:
        return address
    parts = _split(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def unsigned(address: str) -> str:
    """Returns an address with all that names the file, also in its query, and without what signs it.

    It may hold secrets that nobody knows as such, so it is for comparing only.
    """
    if local_path(address) is not None:
        return address
    query = [one for one in _split(address).query.split("&") if one and not _SIGNATURE.fullmatch(one)]
    return "?".join(filter(None, (shown(address), "&".join(query))))


def local_path(address: str) -> Path | None:
    """Returns the path of a file of this machine, None for an address of the network."""
    parts = _split(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    # One letter is a drive of Windows.
    return Path(address) if len(parts.scheme) < 2 or os.sep in address.split(":", maxsplit=1)[0] else None


def web_address(address: str) -> str:
    """Returns the `https` address of a file that lies in a bucket.

    Raises:
        DownloadError: Its readers pay or need an account, or it is reached in another way.
    """
    parts = _split(address)
    bucket = parts.netloc if parts.scheme == "s3" else parts.netloc.partition(".s3")[0]
    if bucket in _PAID_BUCKETS and (parts.scheme == "s3" or parts.netloc.endswith(".amazonaws.com")):
        raise DownloadError(
            f"{shown(address)}: the bucket {bucket} {_PAID_BUCKETS[bucket]}, which is not supported; choose "
            "a catalogue with open files, such as --catalogue planetary-computer"
        )
    if parts.scheme == "s3":
        if bucket not in _OPEN_BUCKETS:
            raise DownloadError(
                f"{shown(address)}: the bucket {bucket} is not known to be open to everybody; choose a "
                "catalogue whose addresses begin with https, such as --catalogue planetary-computer"
            )
        return f"https://{bucket}.s3.{_OPEN_BUCKETS[bucket]}.amazonaws.com{parts.path}"
    if parts.scheme not in {"http", "https"}:
        raise DownloadError(
            f"{shown(address)}: files are read from http, https, s3 and folders only; choose another "
            "--catalogue"
        )
    return address


def is_planetary_computer(catalogue: str) -> bool:
    """Whether a catalogue is the Planetary Computer, by its name here or its address."""
    return catalogue == "planetary-computer" or _split(catalogue).netloc == _PLANETARY


def planetary_token(address: str) -> str | None:
    """Returns where the Planetary Computer gives a token for a file; None for a file that needs none."""
    parts = _split(address)
    host, container = parts.netloc, parts.path.strip("/").partition("/")[0]
    if not host.endswith(_AZURE) or parts.query:
        return None
    return f"{_TOKENS}/{host.removesuffix(_AZURE)}/{container}"


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise DownloadError(f"{address}: is no address of a file; choose another --catalogue") from error
