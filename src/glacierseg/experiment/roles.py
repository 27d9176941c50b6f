"""Which pixels of the regions train, validate and test, by the method of the configuration."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.regions import Region
from glacierseg.data.split import (
    NO_ROLE,
    ROLE_CODES,
    checkerboard,
    deal_folds,
    find_places,
    fold_role,
    give_way,
    leave_gap,
    roles_by_blocks,
    roles_by_folds,
    roles_by_part,
    roles_by_places,
)
from glacierseg.errors import ConfigError
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.settings import RegionConfig, SplitConfig


def share_out(
    sections: Sequence[RegionConfig], split: SplitConfig, patch_px: int, regions: Sequence[Region]
) -> list[Region]:
    """Gives every pixel of every region its role.

    Args:
        sections: The regions of the configuration.
        split: How pixels are shared out.
        patch_px: Side of the largest patch of all networks.
        regions: In the same order; their roles are replaced.

    Raises:
        ConfigError: The method and the regions do not go together, or no ground is left to train on.
        RequestError: A part holds no pixel.
    """
    ways = {
        "spatial": lambda: _spatial(sections, split, patch_px, regions),
        "random": lambda: _random(sections, regions),
        "regions": lambda: _whole_regions(sections, regions),
        "blocks": lambda: _checkerboards(sections, split, patch_px, regions),
        "kfold": lambda: _folds(sections, split, patch_px, regions),
    }
    roles = ways[split.method]()
    if split.method in {"blocks", "kfold"}:
        _with_gap(roles, patch_px)
    return [replace(region, roles=own) for region, own in zip(regions, roles, strict=True)]


def _spatial(
    sections: Sequence[RegionConfig], split: SplitConfig, patch_px: int, regions: Sequence[Region]
) -> list[NDArray[np.uint8]]:
    block_px, share = split.block_px or 2 * patch_px, split.holdout_share
    roles = []
    for wanted, region in zip(sections, regions, strict=True):
        if any(wanted.roles.values()):
            roles.append(_by_parts(wanted, region))
        elif len(wanted.roles) == 1:
            roles.append(_whole(wanted, region))
        else:
            roles.append(roles_by_blocks(region.truth, list(wanted.roles), block_px, share))
    if not any((own == ROLE_CODES["validate"]).any() for own in roles):
        for region, own in zip(regions, roles, strict=True):
            train = own == ROLE_CODES["train"]
            if train.any():
                box = _box(train)
                truth = np.where(train[box], region.truth[box], np.uint8(IGNORE))
                blocks = roles_by_blocks(truth, ["train", "validate"], block_px, share)
                own[box][train[box]] = blocks[train[box]]
    return roles


def _random(sections: Sequence[RegionConfig], regions: Sequence[Region]) -> list[NDArray[np.uint8]]:
    """The random split draws patches from all that trains; what only tests stays apart."""
    roles = []
    for wanted, region in zip(sections, regions, strict=True):
        own = _by_parts(wanted, region) if any(wanted.roles.values()) else _whole(wanted, region)
        own[own == ROLE_CODES["validate"]] = ROLE_CODES["train"]
        roles.append(own)
    return roles


def _whole_regions(sections: Sequence[RegionConfig], regions: Sequence[Region]) -> list[NDArray[np.uint8]]:
    for wanted in sections:
        if len(wanted.roles) > 1:
            raise ConfigError(
                f"region {wanted.name} has the roles {', '.join(wanted.roles)}, but split.method is regions; "
                "give it one role, or set the method to spatial"
            )
    if not any("validate" in wanted.roles for wanted in sections):
        raise ConfigError(
            "split.method is regions, but no region has the role validate; give one that role, or set the "
            "method to blocks"
        )
    return [_whole(wanted, region) for wanted, region in zip(sections, regions, strict=True)]


def _checkerboards(
    sections: Sequence[RegionConfig], split: SplitConfig, patch_px: int, regions: Sequence[Region]
) -> list[NDArray[np.uint8]]:
    block_px, share = split.block_px or 4 * patch_px, split.holdout_share
    validates = any("validate" in wanted.roles for wanted in sections)
    roles = []
    for wanted, region in zip(sections, regions, strict=True):
        if any(wanted.roles.values()):
            own = _by_parts(wanted, region)
        else:
            wants: list[Role] = list(wanted.roles)
            if not validates and "train" in wants:
                wants.append("validate")
            if len(wants) == 1:
                own = _whole(wanted, region)
            else:
                own = checkerboard(region.truth.shape, wants, block_px, share)
        roles.append(own)
    if not any((own == ROLE_CODES["validate"]).any() for own in roles):
        raise ConfigError(
            f"the scenes are too small for a checkerboard with blocks of {block_px} px: no block validates; "
            "give a smaller split.block_px, or set the method to spatial"
        )
    return roles


def _folds(
    sections: Sequence[RegionConfig], split: SplitConfig, patch_px: int, regions: Sequence[Region]
) -> list[NDArray[np.uint8]]:
    for wanted in sections:
        if any(wanted.roles.values()):
            raise ConfigError(
                f"region {wanted.name} gives parts for its roles, but split.method is kfold, which shares "
                "out ground itself; give it `roles: train`"
            )
    dealt = [i for i, wanted in enumerate(sections) if set(wanted.roles) != {"test"}]
    if split.fold_over != "blocks":
        if len(dealt) < split.folds:
            raise ConfigError(
                f"split.folds is {split.folds}, but only {len(dealt)} regions can be dealt out; give fewer "
                "folds, or set fold_over to blocks"
            )
        areas = [
            float((regions[i].truth == GLACIER).sum()) * float(np.prod(regions[i].scene.grid.pixel_size_m))
            for i in dealt
        ]
        if split.fold_over == "places":
            wants = _by_places(split, [regions[i] for i in dealt], areas)
        else:
            wants = [fold_role(own, split.fold, split.folds) for own in deal_folds(areas, split.folds)]
        found = {
            i: np.full(regions[i].truth.shape, ROLE_CODES[own], np.uint8)
            for i, own in zip(dealt, wants, strict=True)
        }
    else:
        block_px = split.block_px or 4 * patch_px
        truths = [regions[i].truth for i in dealt]
        found = dict(zip(dealt, roles_by_folds(truths, block_px, split.folds, split.fold), strict=True))
        for role in ROLE_CODES:
            if not any((own == ROLE_CODES[role]).any() for own in found.values()):
                raise ConfigError(
                    f"the scenes are too small for {split.folds} folds with blocks of {block_px} px; "
                    "give a smaller split.block_px or fewer folds"
                )
    roles = [found[i] if i in found else _whole(sections[i], region) for i, region in enumerate(regions)]
    if split.fold_over == "places":
        _share_ground(roles, regions)
    return roles


def _by_places(split: SplitConfig, regions: Sequence[Region], areas: Sequence[float]) -> list[Role]:
    """Returns what each region is for; about four places for each fold, where the regions are that many."""
    most = max(len(regions) // (4 * split.folds), 1)
    places = find_places([region.scene.grid for region in regions], most)
    if len(places) < split.folds:
        raise ConfigError(
            f"split.folds is {split.folds}, but the regions lie at only {len(places)} places; give fewer "
            "folds, or set fold_over to blocks"
        )
    return roles_by_places(places, areas, split.folds, split.fold, split.holdout_share)


def _share_ground(roles: list[NDArray[np.uint8]], regions: Sequence[Region]) -> None:
    """Lets regions give up ground that a stricter role needs, and drops what is of no use then."""
    before = {role for role, code in ROLE_CODES.items() if any((own == code).any() for own in roles)}
    give_way(roles, [region.scene.grid for region in regions])
    for own, region in zip(roles, regions, strict=True):
        for code in ROLE_CODES.values():
            if (region.truth[own == code] == IGNORE).all():
                own[own == code] = NO_ROLE
    for role in before:
        if not any((own == ROLE_CODES[role]).any() for own in roles):
            raise ConfigError(
                f"the regions overlap so much that no ground is left to {role} on; give fewer folds, or "
                "set fold_over to blocks"
            )


def _with_gap(roles: list[NDArray[np.uint8]], patch_px: int) -> None:
    before = {role for role, code in ROLE_CODES.items() if any((own == code).any() for own in roles)}
    for own in roles:
        leave_gap(own, patch_px)
    for role in ROLE_CODES:
        if role in before and not any((own == ROLE_CODES[role]).any() for own in roles):
            raise ConfigError(
                f"a gap of one patch ({patch_px} px) between ground of different roles leaves no ground to "
                f"{role} on; give a larger split.block_px or part, smaller patches or a larger scene"
            )


def _by_parts(wanted: RegionConfig, region: Region) -> NDArray[np.uint8]:
    parts = {role: part for role, part in wanted.roles.items() if part is not None}
    return roles_by_part(region.scene.grid, parts)


def _whole(wanted: RegionConfig, region: Region) -> NDArray[np.uint8]:
    """Gives a whole region its role; of several the one that comes first."""
    only = min(wanted.roles, key=ROLE_CODES.__getitem__)
    return np.full(region.truth.shape, ROLE_CODES[only], np.uint8)


def _box(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Returns the smallest rectangle around an area."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
