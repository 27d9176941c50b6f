"""Which results are up to date: a record beside them of what each was made of."""

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
    """What results beside a file of JSON were made of, by stage.

    A raster that somebody corrected by hand stays as long as what it was made of is as before; what is made
    of it is made again. Nothing takes the place of such a raster, nor of a file that no stage made.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path, self._again = path, again

    def made(self, stage: str, result: Path, word: str, make: Callable[[], Sequence[str]]) -> bool:
        """Makes the result of a stage unless it is up to date.

        Args:
            stage: Its name.
            result: Its file.
            word: For what it is made of, from `word_for`.
            make: Makes it, and returns what there is to say of it, a line each.

        Returns:
            Whether it was made now.

        Raises:
            RequestError: The file was corrected by hand, or is of somebody else.
            OutputError: The record cannot be written.
        """
        known = self._of(stage)
        if not self._again:
            if known.get("made_of") == word and result.exists():
                return False
            self._refuse_to_replace(known, result)
        # Whoever is killed between a result and its record has lost nothing.
        self._store(stage, {"made_of": None})
        notes = list(make())
        digest = digest_of(result) if result.suffix.lower() in TIFF else None
        self._store(stage, {"made_of": word, "digest": digest, "notes": notes})
        return True

    def notes(self, stage: str) -> tuple[str, ...]:
        """What a stage had to say when it was made."""
        return tuple(self._of(stage).get("notes", ()))

    def _refuse_to_replace(self, known: dict[str, Any], result: Path) -> None:
        if not result.exists():
            return
        if not known:
            raise RequestError(
                f"{result}: exists, and was made otherwise; give another --out, or --again to replace it"
            )
        if known.get("digest") not in {None, digest_of(result)}:
            raise RequestError(
                f"{result}: was changed since it was made, and would be made anew; give another --out, or "
                "--again to replace it"
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


def word_for(files: Iterable[Path], *more: Any) -> str:
    """Returns a word that changes with the content of files, with settings and with the version.

    Args:
        files: Files and folders, with what belongs to them; where they lie does not count.
        more: What else results depend on, as JSON has it.

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
