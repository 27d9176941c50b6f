"""QGIS projects: a `.qgz` of layers in groups, written without QGIS.

Paths are relative to the project, so a folder may be moved or copied as a whole. The same layers give the
same file. The comment of the archive holds a digest of its content, and QGIS drops it when it saves a
project: so a project that somebody works with is known, and never replaced.
"""

import logging
import zipfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from glacierseg.raster.outputs import writes
from glacierseg.raster.write import atomic_path
from glacierseg.review.qgs import ProjectLayers, document

_log = logging.getLogger(__name__)

_SIGNED = "glacierseg "
# The earliest that an archive knows: the day of writing would make each file another one.
_DAY = (1980, 1, 1, 0, 0, 0)


@writes(path=(".qgz",))
def write_project(path: Path, project: ProjectLayers) -> bool:
    """Writes a project, unless it is there already or was changed in QGIS.

    Args:
        path: The `.qgz`.
        project: What it shows.

    Returns:
        Whether it was written now.

    Raises:
        OutputError: It cannot be written.
    """
    text = document(project, path.parent)
    signed = (_SIGNED + sha256(text).hexdigest()).encode()
    known = _signature(path)
    if known == signed:
        return False
    if path.exists() and known is None:
        _log.info(f"{path}: was changed in QGIS and stays as it is; remove it to have it made again")
        return False
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        member = zipfile.ZipInfo(f"{path.stem}.qgs", _DAY)
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, text)
        archive.comment = signed
    return True


def _signature(path: Path) -> bytes | None:
    """Returns the comment of a project that is just as it was written here; None of any other file."""
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        digests = [sha256(archive.read(name)).hexdigest() for name in archive.namelist()]
        if [archive.comment] == [(_SIGNED + digest).encode() for digest in digests]:
            return archive.comment
    return None
