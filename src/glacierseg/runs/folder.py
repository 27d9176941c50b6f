"""The folder of a run: where things lie, what was asked for, and on what they were computed."""

import csv
import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from glacierseg._version import __version__
from glacierseg.errors import ConfigError, DataError, OutputError, RequestError
from glacierseg.models.registry import folder_name
from glacierseg.raster.write import digest_of, read_json, remove_leftovers, write_json, write_text
from glacierseg.settings import RunConfig, dump_config, first_difference, parse_config

try:
    import fcntl
except ImportError:  # Windows; there nobody keeps two runs apart
    fcntl = None  # type: ignore[assignment]

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "numpy",
    "rasterio",
    "opencv-python-headless",
    "geopandas",
    "shapely",
)


@dataclass(frozen=True)
class ModelFolder:
    """Where the results of one network with one set of bands lie."""

    path: Path

    def forget_results(self) -> None:
        """Removes what was made with an earlier network, so that nothing of it outlives its weights."""
        made = (
            "*.tif",
            "*.gpkg",
            "band_importance.*",
            "reliability.csv",
            "refinement.json",
            "scores.json",
            "timings.json",
        )
        for pattern in made:
            for path in self.path.glob(pattern):
                path.unlink()

    def forget_region(self, region: str) -> None:
        """Removes what was made from an earlier prediction of a region, the tuning and scores among it."""
        for path in (self.refined(region), self.outlines(region), self.refinement, self.scores):
            path.unlink(missing_ok=True)

    @property
    def weights(self) -> Path:
        """The trained weights; when they are there, the training is finished."""
        return self.path / "model.safetensors"

    @property
    def importance(self) -> Path:
        """Table of band importance."""
        return self.path / "band_importance.csv"

    @property
    def refinement(self) -> Path:
        """What the parameter search found."""
        return self.path / "refinement.json"

    @property
    def reliability(self) -> Path:
        """Reliability diagrams of its probabilities."""
        return self.path / "reliability.csv"

    @property
    def timings(self) -> Path:
        """How long prediction took, over all calls."""
        return self.path / "timings.json"

    @property
    def scores(self) -> Path:
        """Scores of every region, role and stage."""
        return self.path / "scores.json"

    def probability(self, region: str) -> Path:
        """Glacier probability of a region."""
        return self.path / f"{region}_probability.tif"

    def mask(self, region: str) -> Path:
        """Predicted mask of a region."""
        return self.path / f"{region}_mask.tif"

    def refined(self, region: str) -> Path:
        """Refined mask of a region."""
        return self.path / f"{region}_refined.tif"

    def outlines(self, region: str) -> Path:
        """Outlines of a region."""
        return self.path / f"{region}.gpkg"

    def inventory(self, region: str) -> Path:
        """Inventory of a region."""
        return self.path / f"{region}_inventory.gpkg"


@dataclass(frozen=True)
class RunFolder:
    """Where the results of a run lie."""

    path: Path

    def model(self, model: str, bands: str) -> ModelFolder:
        """The folder of one network (or of the threshold rule) with one set of bands."""
        return ModelFolder(self.path / folder_name(model) / bands)

    def scene(self, region: str) -> Path:
        """Bands of a region that a recipe made."""
        return self.path / "regions" / f"{region}_scene.tif"

    def truth(self, region: str) -> Path:
        """Truth of a region on its scene's grid."""
        return self.path / "regions" / f"{region}_truth.tif"

    def roles(self, region: str) -> Path:
        """Roles of a region's pixels."""
        return self.path / "regions" / f"{region}_roles.tif"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder; the system lets go when this one ends, however it ends.

        Raises:
            OutputError: The folder cannot be written to.
            RequestError: Another process is working in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write there ({error.strerror}); choose another folder with --out"
            ) from error
        with file:
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RequestError(
                    f"{self.path}: another process is working there; wait for it, or give another --out"
                ) from error
            yield

    def forget_beginning(self) -> None:
        """Undoes `begin`, so that a corrected configuration may begin again."""
        for name in ("config.yaml", "inputs.json", "environment.json", "regions.json", "checks.json"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "regions", ignore_errors=True)

    def begin(self, config: RunConfig, inputs: Iterable[Path]) -> bool:
        """Makes the folder, or makes sure that it belongs to the same configuration and the same files.

        Args:
            config: What is asked for.
            inputs: The files it is asked for.

        Returns:
            Whether there is something to continue.

        Raises:
            RequestError: The folder was begun with another configuration, or an input changed since.
            DataError: An input cannot be read.
            OutputError: The folder cannot be written to.
        """
        asked = yaml.safe_load(dump_config(config))
        paths = sorted(set(inputs))
        written = self.path / "config.yaml"
        if not written.exists():
            write_json(self.path / "environment.json", environment())
            write_json(self.path / "inputs.json", {str(path): _stamp(path) for path in paths})
            write_text(written, dump_config(config))
            return False
        if not (self.path / "inputs.json").exists():
            raise RequestError(
                f"{self.path}: is no folder of a run, but holds a config.yaml that would be lost; give "
                "another --out"
            )
        try:
            before = yaml.safe_load(written.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise DataError(f"{written}: is damaged; remove the folder and run again") from error
        difference = first_difference(_with_defaults(before, written), asked)
        if difference:
            raise RequestError(
                f"{self.path}: was begun with another configuration ({difference}); "
                "give another --out, or remove that folder"
            )
        known = read_json(self.path / "inputs.json")
        for path in paths:
            if not _is_as_stamped(path, known.get(str(path))):
                raise RequestError(
                    f"{path}: changed since {self.path} was begun; give another --out, or remove that folder"
                )
        remove_leftovers(self.path)
        return True


def _with_defaults(before: Any, path: Path) -> Any:
    """Fills in the settings that an earlier version did not know, so that its runs can be continued."""
    try:
        return yaml.safe_load(dump_config(parse_config(before, path)))
    except (ConfigError, TypeError):
        return before


def _stamp(path: Path) -> list[int | str]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, digest_of(path)]


def _is_as_stamped(path: Path, stamp: list[int | str] | None) -> bool:
    """Copies and checkouts get new times, so a new time alone is no change; bytes are read only then."""
    if stamp is None:
        return False
    facts = path.stat()
    size, time_ns, *digest = stamp
    if facts.st_size != size:
        return False
    return facts.st_mtime_ns == time_ns or (bool(digest) and digest_of(path) == digest[0])


def environment() -> dict[str, Any]:
    """Returns what a result depends on besides data and configuration."""
    return {
        "glacierseg": __version__,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor_cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _git_revision() -> str | None:
    """Returns the revision of the source tree that runs, None when it was installed from a package."""
    if not (Path(__file__).parents[3] / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV file that is whole or absent; numbers with as many digits as they have."""
    lines: list[str] = []

    class _Lines:
        @staticmethod
        def write(line: str) -> None:
            lines.append(line)

    writer = csv.DictWriter(_Lines, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: repr(v) if isinstance(v, float) else v for key, v in row.items()})
    write_text(path, "".join(lines))
