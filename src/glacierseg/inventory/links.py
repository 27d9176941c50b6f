"""Which glacier of ours is which of another inventory."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glacierseg.raster.mend import INVENTORY_IDS

# Less common ground than this (100 m2) is rounding, not a link.
_LEAST_KM2 = 1e-4


def has_ids(table: Any) -> bool:
    """Says whether a table has a column that may hold ids of glaciers."""
    return bool({str(name).lower() for name in table.columns} & {*INVENTORY_IDS, "id", "name"})


def is_inventory(table: Any) -> bool:
    """Says whether a table has ids that only inventories give, so that its ice is divided already."""
    return bool({str(name).lower() for name in table.columns} & ({*INVENTORY_IDS} - {"glacier_id"}))


def link_table(ours: gpd.GeoDataFrame, existing: Any, column: str | None) -> pd.DataFrame:
    """Lists every pair of glaciers that share ground.

    Args:
        ours: With `inv_id`, `area_km2` and polygons.
        existing: Polygons in the same CRS.
        column: Its column of ids; row numbers from 1 when None.

    Returns:
        Columns `inv_id`, `existing_id`, `overlap_km2` (on the ellipsoid), `share_of_ours` and
        `share_of_existing` (0-1), sorted by our glaciers and then by overlap, the largest first.
    """
    mine = ours.geometry.to_numpy()
    theirs = shapely.make_valid(existing.geometry.to_numpy())
    names = existing[column].astype(str).to_numpy() if column else np.arange(1, len(theirs) + 1).astype(str)
    left, right = shapely.STRtree(theirs).query(mine, predicate="intersects")
    shared = shapely.area(shapely.intersection(mine[left], theirs[right]))
    share_of_ours = shared / shapely.area(mine[left])
    links = pd.DataFrame(
        {
            "inv_id": ours["inv_id"].to_numpy()[left],
            "existing_id": names[right],
            # A ratio of two areas at one place is the same in every projection.
            "overlap_km2": share_of_ours * ours["area_km2"].to_numpy()[left],
            "share_of_ours": np.minimum(share_of_ours, 1),
            "share_of_existing": np.minimum(shared / shapely.area(theirs[right]), 1),
            "_order": left,
        }
    )
    links = links[links["overlap_km2"] >= _LEAST_KM2]
    links = links.sort_values(["_order", "overlap_km2"], ascending=[True, False], kind="stable")
    return links.drop(columns="_order").reset_index(drop=True)
