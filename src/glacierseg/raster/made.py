"""Which results are up to date: a record beside them of what each was made of."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from glacierseg._version import __version__
from glacierseg.errors import DataError
from glacierseg.raster.outputs import belongings
from glacierseg.raster.write import digest_of, read_json, write_json


class Record:
    """What results beside a file of JSON were made of, by stage.

    A result that somebody corrects by hand stays, as what it was made of is as before; what is made of it is
    made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_up_to_date(self, stage: str, results: Sequence[Path], word: str) -> bool:
        """Whether all results of a stage are there and were made of the same.

        Args:
            stage: Its name.
            results: Its files.
            word: For what they are made of, from `word_for`.
        """
        return self._of(stage).get("made_of") == word and all(path.exists() for path in results)

    def notes(self, stage: str) -> tuple[str, ...]:
        """What a stage that is up to date had to say."""
        return tuple(self._of(stage).get("notes", ()))

    def store(self, stage: str, word: str, notes: Sequence[str] = ()) -> None:
        """Notes that the results of a stage are there.

        Args:
            stage: Its name.
            word: For what they were made of.
            notes: What it had to say, a line each.

        Raises:
            OutputError: The record cannot be written.
        """
        write_json(self.path, self._stages() | {stage: {"made_of": word, "notes": list(notes)}})

    def _of(self, stage: str) -> dict[str, Any]:
        found = self._stages().get(stage)
        return found if isinstance(found, dict) else {}

    def _stages(self) -> dict[str, Any]:
        try:
            found = read_json(self.path) if self.path.exists() else {}
        except DataError:  # cut short: then everything is made again
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
