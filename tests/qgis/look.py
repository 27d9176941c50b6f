"""Opens projects in QGIS without a window; prints what it found as JSON. Run by the Python that QGIS has.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 look.py PROJECT.qgz PICTURE.png [LAYER ...]
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

WIDTH_PX = 900


def settings_of(project: Any, names: Sequence[str]) -> tuple[Any, list[str]]:
    """The map as it opens; or layers of some names, the first uppermost, pixel by pixel of the last one."""
    settings = QgsMapSettings()
    settings.setDestinationCrs(project.crs())
    settings.setTransformContext(project.transformContext())
    if names:
        shown = [project.mapLayersByName(name)[0] for name in names]
        extent, size = shown[-1].extent(), QSize(shown[-1].width(), shown[-1].height())
        settings.setDestinationCrs(shown[-1].crs())
        settings.setBackgroundColor(QColor(0, 0, 0, 0))
    else:
        root = project.layerTreeRoot()
        shown = [layer for layer in root.layerOrder() if root.findLayer(layer).isVisible()]
        extent = project.viewSettings().defaultViewExtent()
        size = QSize(WIDTH_PX, max(1, round(WIDTH_PX * extent.height() / extent.width())))
    settings.setExtent(extent)
    settings.setOutputSize(size)
    settings.setLayers(shown)
    return settings, [layer.name() for layer in shown]


def about(layer: Any) -> dict[str, Any]:
    """What a test asks of a layer."""
    found = {"valid": layer.isValid(), "crs": layer.crs().authid(), "source": layer.source()}
    if isinstance(layer, QgsVectorLayer):
        found |= {
            "features": layer.featureCount(),
            "editable": not layer.readOnly(),
            "labels": layer.labelsEnabled(),
            "style": layer.renderer().type(),
            "defaults": {
                field.name(): field.defaultValueDefinition().expression()
                for field in layer.fields()
                if field.defaultValueDefinition().isValid()
            },
        }
    else:
        found["style"] = layer.renderer().type()
    return found


def main(path: str, picture: str, names: Sequence[str]) -> None:
    """Opens a project, draws it, and says what it holds."""
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    opened = project.read(path)
    settings, shown = settings_of(project, names)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(picture)
    extent = project.viewSettings().defaultViewExtent()
    found = {
        "opened": opened,
        "crs": project.crs().authid(),
        "wkt": project.crs().isValid(),
        "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        "snapping": project.snappingConfig().enabled(),
        "topological": project.topologicalEditing(),
        "avoids": [layer.name() for layer in project.avoidIntersectionsLayers()],
        "shown": shown,
        "errors": [error.message for error in job.errors()],
        "layers": [
            {"name": node.layer().name(), "group": node.parent().name(), **about(node.layer())}
            if node.layer()
            else {"name": node.name(), "group": node.parent().name(), "valid": False}
            for node in project.layerTreeRoot().findLayers()
        ],
    }
    sys.stdout.write(json.dumps(found, ensure_ascii=False))
    project.clear()
    application.exitQgis()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
