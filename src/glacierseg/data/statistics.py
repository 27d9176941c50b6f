"""What a network is trained on, in numbers, with a fingerprint by which the same data are known again."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.patches import Patch, PatchReader
from glacierseg.data.split import ROLE_CODES
from glacierseg.models.scaling import Scaling
from glacierseg.raster.truth import GLACIER, IGNORE

_SAMPLED_PATCHES = 64


@dataclass(frozen=True)
class GroundStatistics:
    """The ground of one role.

    Attributes:
        patches: Patches placed on it.
        labelled_px: Pixels with a label.
        glacier_share: Of the labelled pixels.
        ignored_share: Pixels of the role without a label or without data.
    """

    patches: int
    labelled_px: int
    glacier_share: float
    ignored_share: float


@dataclass(frozen=True)
class DatasetStatistics:
    """What a network is trained and validated on.

    Attributes:
        train: Its training ground.
        validate: Its validation ground.
        band_mean: Of each band over labelled training pixels, in the scenes' units.
        band_std: Its spread there.
        fingerprint: SHA-256 over bands, scaling, patches, truth, roles and a sample of the pixels.
    """

    train: GroundStatistics
    validate: GroundStatistics
    band_mean: dict[str, float]
    band_std: dict[str, float]
    fingerprint: str

    def as_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns it for people."""
        return [
            f"{name}: {ground.patches} patches, {ground.labelled_px / 1e6:.3g} M labelled pixels, "
            f"{ground.glacier_share:.1%} glacier, {ground.ignored_share:.1%} ignored"
            for name, ground in (("train", self.train), ("validate", self.validate))
        ]


def dataset_statistics(
    reader: PatchReader, train: Sequence[Patch], validate: Sequence[Patch], scaling: Scaling
) -> DatasetStatistics:
    """Counts what a network is trained and validated on.

    Args:
        reader: Of the regions.
        train: Training patches.
        validate: Validation patches; under the random split they lie on training ground.
        scaling: Measured on training pixels.
    """
    bands = reader.regions[0].scene.band_names
    truths = [region.truth for region in reader.regions]
    roles = [region.roles for region in reader.regions]
    validates = any((own == ROLE_CODES["validate"]).any() for own in roles)
    return DatasetStatistics(
        _ground(truths, roles, "train", len(train)),
        _ground(truths, roles, "validate" if validates else "train", len(validate)),
        dict(zip(bands, scaling.mean, strict=True)),
        dict(zip(bands, scaling.std, strict=True)),
        _fingerprint(reader, train, validate, scaling),
    )


def _ground(
    truths: Sequence[NDArray[np.uint8]], roles: Sequence[NDArray[np.uint8]], role: Role, patches: int
) -> GroundStatistics:
    all_px = labelled = glacier = 0
    for truth, own in zip(truths, roles, strict=True):
        inside = truth[own == ROLE_CODES[role]]
        all_px += inside.size
        labelled += int((inside != IGNORE).sum())
        glacier += int((inside == GLACIER).sum())
    return GroundStatistics(patches, labelled, glacier / max(labelled, 1), 1 - labelled / max(all_px, 1))


def _fingerprint(
    reader: PatchReader, train: Sequence[Patch], validate: Sequence[Patch], scaling: Scaling
) -> str:
    digest = hashlib.sha256()
    for region in reader.regions:
        grid = region.scene.grid
        facts = region.scene.band_names, grid.shape, tuple(grid.transform), region.scene.dtype.str
        digest.update(repr(facts).encode())
        digest.update(np.ascontiguousarray(region.truth).data)
        if region.soft is not None:
            digest.update(np.ascontiguousarray(region.soft).data)
        digest.update(np.ascontiguousarray(region.roles).data)
    digest.update(np.array([*scaling.mean, *scaling.std]).tobytes())
    for patches in (train, validate):
        places = [(patch.region, patch.row, patch.column) for patch in patches]
        digest.update(np.array(places, np.int64).tobytes())
    # All pixels of a large scene would take as long as an epoch; the scaling has seen them all anyway.
    for index in np.linspace(0, len(train) - 1, min(len(train), _SAMPLED_PATCHES)).round().astype(int):
        values, valid, _, _ = reader.read(train[index])
        digest.update(np.where(valid[..., None], values, 0).tobytes())
    return digest.hexdigest()
