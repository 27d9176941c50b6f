"""Corrections that were kept, each whole in a folder of its own: `corrections/0001_<scene>/`.

`checked.tif` is what one analyst said, `truth.tif` what counts of it beside the other corrections of the
scene: every pixel in the newest that knows it, the later word of an analyst before the earlier, and nowhere
where the last words of two analysts differ.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from glacierseg._version import __version__
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import pixel_areas_km2
from glacierseg.raster.outlines import read_own
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.raster.warp import read_grid
from glacierseg.raster.write import atomic_path, read_json, write_json, write_raster
from glacierseg.review.corrections import CHECKED, OUTLINES, scene_digest
from glacierseg.review.edits import Edits
from glacierseg.vectors.layers import add_layer

_SAID, _TRUTH, _OUTLINES, _FACTS, _CHANGES = (
    "checked.tif", "truth.tif", "outlines.gpkg", "facts.json", "changes.csv",
)  # fmt: skip


@dataclass(frozen=True)
class Correction:
    """One correction that was kept.

    Attributes:
        name: Of its folder.
        scene: Files of the scene.
        truth: Raster of 0, 1 and 255 on the grid of the scene, ready to train on: ground that a later
            correction of the same scene covers, or on which two analysts disagree, is 255.
        facts: `analyst`, `day`, `scene` and `scene_digest`, `checked_km2`, `gained_km2`, `lost_km2`,
            `used_km2` (of `truth`), `version`, and what the caller of `Store.add` knows.
    """

    name: str
    scene: tuple[Path, ...]
    truth: Path
    facts: dict[str, Any]


@dataclass(frozen=True)
class Store:
    """The corrections in a folder.

    Attributes:
        folder: `DIR`; the corrections lie in `DIR/corrections`.
    """

    folder: Path

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """All of which something counts, the oldest first.

        Raises:
            DataError: A file is damaged.
        """
        return tuple(one for one in self._kept() if one.facts["used_km2"] > 0)

    def checked_ground(self, scene: Scene) -> list[gpd.GeoDataFrame]:
        """Returns all ground of a scene that was checked, as tables of polygons."""
        content = scene_digest(scene)
        found = [one for one in self._kept() if one.facts["scene_digest"] == content]
        return [read_own(one.truth.with_name(_OUTLINES), CHECKED) for one in found]

    def add(self, edits: Edits, scene: Scene, facts: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """Keeps edits, unless they are there already, and settles where corrections of a scene meet.

        Args:
            edits: What was corrected.
            scene: The scene that was looked at.
            facts: What else is known, such as `mask` and `model`.

        Returns:
            What a user should know, one line each.

        Raises:
            DataError: A file of the store is damaged.
            OutputError: The folder cannot be written to.
        """
        known, content = self._kept(), scene_digest(scene)
        digest = hashlib.sha256(edits.truth.tobytes())
        digest.update(json.dumps([content, edits.analyst]).encode())
        notes: list[str] = []
        same = next((one for one in known if one.facts["digest"] == digest.hexdigest()), None)
        if same:
            notes.append(f"the same edits are kept already, as {same.truth.parent}")
        else:
            number = max((int(one.name.partition("_")[0]) for one in known), default=0) + 1
            own = {
                "analyst": edits.analyst,
                "day": datetime.now(UTC).date().isoformat(),
                "scene": [str(path.resolve()) for path in scene.paths],
                "scene_digest": content,
                "checked_km2": edits.checked_km2,
                "gained_km2": edits.gained_km2,
                "lost_km2": edits.lost_km2,
                "used_km2": edits.checked_km2,
                "version": __version__,
                "digest": digest.hexdigest(),
            }
            self._write(f"{number:04d}_{scene.name}", edits, {**(facts or {}), **own})
        # Of all scenes, for somebody may have removed a folder.
        for one in dict.fromkeys(one.facts["scene_digest"] for one in self._kept()):
            notes += self._settle(one)
        return tuple(notes)

    def _kept(self) -> list[Correction]:
        """All of them, in the order of their numbers."""
        found = []
        for path in sorted(self.folder.glob(f"corrections/[0-9]*_*/{_FACTS}")):
            facts = read_json(path)
            scene = tuple(Path(one) for one in facts["scene"])
            found.append(Correction(path.parent.name, scene, path.parent / _TRUTH, facts))
        return found

    def _write(self, name: str, edits: Edits, facts: dict[str, Any]) -> None:
        with atomic_path(self.folder / "corrections" / name) as part:
            for file in (_SAID, _TRUTH):
                _write_truth(part / file, edits.truth, edits.grid)
            for layer, table in ((OUTLINES, edits.outlines), (CHECKED, edits.ground)):
                add_layer(part / _OUTLINES, layer, table, geometry_type="MultiPolygon", promote_to_multi=True)
            edits.changes.to_csv(part / _CHANGES, index=False)
            write_json(part / _FACTS, facts)

    def _settle(self, scene: str) -> list[str]:
        """Writes what counts of each correction of a scene; says where analysts disagree."""
        entries = [one for one in self._kept() if one.facts["scene_digest"] == scene]
        grid = read_grid(entries[0].truth)
        areas = np.broadcast_to(pixel_areas_km2(grid), grid.shape)
        last: dict[str, NDArray[np.uint8]] = {}
        newest = np.zeros(grid.shape, np.int32)
        for number, entry in enumerate(entries, start=1):
            said = read_mask(entry.truth.with_name(_SAID), grid)
            newest[said != IGNORE] = number
            before = last.get(entry.facts["analyst"])
            last[entry.facts["analyst"]] = said if before is None else np.where(said == IGNORE, before, said)
        agreed = np.full(grid.shape, IGNORE, np.uint8)
        disputed = np.zeros(grid.shape, bool)
        for said in last.values():
            disputed |= (said != IGNORE) & (agreed != IGNORE) & (said != agreed)
            agreed = np.where(said == IGNORE, agreed, said)
        agreed[disputed] = IGNORE
        for number, entry in enumerate(entries, start=1):
            truth = np.where(newest == number, agreed, np.uint8(IGNORE))
            if not np.array_equal(truth, read_mask(entry.truth, grid)):
                _write_truth(entry.truth, truth, grid)
            used_km2 = float(areas[truth != IGNORE].sum())
            if used_km2 != entry.facts["used_km2"]:
                write_json(entry.truth.with_name(_FACTS), entry.facts | {"used_km2": used_km2})
        if not disputed.any():
            return []
        who = " and ".join(
            sorted(
                name or "an analyst without a name"
                for name, said in last.items()
                if (said[disputed] != IGNORE).any()
            )
        )
        where = entries[0].scene[0].name
        return [f"{where}: {areas[disputed].sum():.3g} km2 on which {who} disagree are not used"]


def _write_truth(path: Path, truth: NDArray[np.uint8], grid: Grid) -> None:
    write_raster(path, truth, grid, bands=["glacier"], nodata=IGNORE, cog=False)
