"""Which results are up to date: a record beside them of the inputs of each."""

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from glacierseg._version import __version__
from glacierseg.errors import DataError, RequestError
from glacierseg.raster.outputs import TIFF, belongings
from glacierseg.raster.write import digest_of, read_json, write_json


class Record:
    """The inputs of results by stage, in a file of JSON beside them.

    A raster that was corrected by hand stays as long as its inputs are unchanged; later stages follow it.
    Neither such a raster nor a file without a record is replaced.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path, self._again = path, again

    def made(
        self,
        stage: str,
        result: Path,
        inputs: str,
        make: Callable[[], Sequence[str]],
        *,
        keeps_edits: bool = False,
    ) -> bool:
        """Makes the result of a stage unless it is up to date.

        Args:
            stage: Name of the stage.
            result: File that it writes.
            inputs: From `digest_of_inputs`.
            make: Writes the result and returns notes on it, a line each.
            keeps_edits: Whether it knows by itself what was edited by hand, and leaves that alone.

        Returns:
            Whether it was made now.

        Raises:
            RequestError: The file was corrected by hand, or has no record.
            OutputError: The record cannot be written.
        """
        known = self._of(stage)
        if not self._again:
            if known.get("made_of") == inputs and result.exists():
                return False
            if not keeps_edits:
                self._refuse_to_replace(known, result)
        # Whoever is killed between a result and its record has lost nothing.
        self._store(stage, {"made_of": None})
        notes = list(make())
        digest = digest_of(result) if result.suffix.lower() in TIFF else None
        self._store(stage, {"made_of": inputs, "digest": digest, "notes": notes})
        return True

    def notes(self, stage: str) -> tuple[str, ...]:
        """Returns the notes of a stage, from when its result was made."""
        return tuple(self._of(stage).get("notes", ()))

    def _refuse_to_replace(self, known: dict[str, Any], result: Path) -> None:
        if not result.exists():
            return
        if not known:
            raise RequestError(
                f"{result}: exists already and is not from this command; give another --out, or --again to "
                "replace it"
            )
        if known.get("digest") not in {None, digest_of(result)}:
            raise RequestError(
                f"{result}: was changed since it was made, and its inputs or settings are others now; give "
                "another --out, or --again to replace it"
            )

    def _store(self, stage: str, entry: dict[str, Any]) -> None:
        write_json(self.path, self._stages() | {stage: entry})

    def _of(self, stage: str) -> dict[str, Any]:
        found = self._stages().get(stage)
        return found if isinstance(found, dict) else {}

    def _stages(self) -> dict[str, Any]:
        try:
            found = read_json(self.path) if self.path.exists() else {}
        except DataError:  # cut short, which tells nothing
            return {}
        return found if isinstance(found, dict) else {}


def digest_of_inputs(files: Iterable[Path], *more: Any) -> str:
    """Returns a digest that changes with the content of files, with settings and with the version.

    Args:
        files: Files and folders, with the files that belong to them; where they lie does not count.
        more: Anything else that results depend on, such as settings.

    Raises:
        DataError: A file cannot be read.
    """
    digests = [[str(name), digest_of(path)] for source in files for name, path in _members(source)]
    text = json.dumps([__version__, digests, more], sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:16]


def _members(source: Path) -> list[tuple[Path, Path]]:
    """Returns the files of a source, each with a name that stays when it is moved or renamed."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.is_file())
        return [(path.relative_to(source), path) for path in found]
    return [(Path(path.suffix), path) for path in (source, *belongings(source))]
