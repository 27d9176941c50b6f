"""Addresses of files: which can be read without an account, which need a token, and what is shown of them."""

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import url2pathname

from glacierseg.errors import DownloadError

# Buckets that anybody may read, and their regions.
_OPEN_BUCKETS = {
    "copernicus-dem-30m": "eu-central-1",
    "copernicus-dem-90m": "eu-central-1",
    "e84-earth-search-sentinel-data": "us-west-2",
    "sentinel-cogs": "us-west-2",
}
# Buckets whose readers pay or need an account.
_PAID_BUCKETS = {
    "eodata": "needs an account at the Copernicus Data Space",
    "sentinel-s2-l1c": "is paid for by its readers",
    "sentinel-s2-l2a": "is paid for by its readers",
    "usgs-landsat": "is paid for by its readers",
}
# Parameters of signed addresses: of Azure, Amazon, Google, and of others.
_SIGNATURE = re.compile(
    r"(?:s[eiprstv]|s(?:ig|ip|pr|rt)|sk(?:oid|tid|[estv])|x-(?:amz|goog)-[\w-]+|awsaccesskeyid|signature|expires|policy"
    r"|key-pair-id|(?:access_)?token)=.*",
    re.IGNORECASE,
)
_PLANETARY = "planetarycomputer.microsoft.com"
_AZURE = ".blob.core.windows.net"


def shown(address: str) -> str:
    """Returns an address as messages, files and keys have it: without signature and password."""
    if local_path(address) is not None:
        return address
    parts = _split(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def unsigned(address: str) -> str:
    """Returns an address with the parts of its query that name the file, and without those that sign it.

    Signatures of unknown kinds stay, so it is for comparing only and never shown.
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
    """Returns the `https` address of a file, which may lie in a bucket.

    Raises:
        DownloadError: Its readers pay or need an account, or it is reached in another way.
    """
    parts = _split(address)
    is_s3 = parts.scheme == "s3"
    bucket = parts.netloc if is_s3 else parts.netloc.partition(".s3")[0]
    if bucket in _PAID_BUCKETS and (is_s3 or parts.netloc.endswith(".amazonaws.com")):
        why = f"the bucket {bucket} {_PAID_BUCKETS[bucket]}, which is not supported"
    elif is_s3 and bucket in _OPEN_BUCKETS:
        return f"https://{bucket}.s3.{_OPEN_BUCKETS[bucket]}.amazonaws.com{parts.path}"
    elif is_s3:
        why = f"the bucket {bucket} is not known to be open to anybody"
    elif parts.scheme in {"http", "https"}:
        return address
    else:
        why = "files are read from http, https, s3 and folders only"
    raise DownloadError(
        f"{shown(address)}: {why}; choose a catalogue with open files, such as --catalogue planetary-computer"
    )


def token_source(catalogue: str, address: str) -> str | None:
    """Returns where the Planetary Computer gives a token for a file; None for a file that needs none.

    Args:
        catalogue: Name or address of the catalogue that offers the file.
        address: Where the file lies.
    """
    parts = _split(address)
    host, container = parts.netloc, parts.path.strip("/").partition("/")[0]
    is_theirs = catalogue == "planetary-computer" or _split(catalogue).netloc == _PLANETARY
    if not is_theirs or not host.endswith(_AZURE) or parts.query:
        return None
    return f"https://{_PLANETARY}/api/sas/v1/token/{host.removesuffix(_AZURE)}/{container}"


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise DownloadError(f"{address}: is not an address of a file; choose another --catalogue") from error
