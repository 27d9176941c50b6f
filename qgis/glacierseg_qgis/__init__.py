"""The QGIS plug-in of glacierseg: its commands as algorithms of Processing."""

from __future__ import annotations

from typing import Any


def classFactory(_: Any) -> Any:  # noqa: N802  (the name that QGIS calls)
    """Returns the plug-in."""
    from glacierseg_qgis.provider import Plugin  # noqa: PLC0415  (QGIS alone has what it imports)

    return Plugin()
