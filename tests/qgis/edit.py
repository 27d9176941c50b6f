"""Works in a project as an analyst does: moves a glacier, draws checked ground, saves. Run by QGIS's Python.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 edit.py PROJECT.qgz WEST SOUTH EAST NORTH
"""

import sys

from qgis.core import QgsApplication, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayerUtils


def main(path: str, *box: str) -> None:
    """Draws a box of checked ground, and gives the first glacier its half nearer to the west."""
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    project.read(path)
    outlines = project.mapLayersByName("Outlines (edit here)")[0]
    checked = project.mapLayersByName("Checked ground (draw here)")[0]
    ground = QgsGeometry.fromRect(QgsRectangle(*map(float, box)))
    context = project.createExpressionContext()
    for layer in (outlines, checked):
        layer.startEditing()
    checked.addFeature(QgsVectorLayerUtils.createFeature(checked, ground, {}, context))
    glacier = next(outlines.getFeatures())
    extent = glacier.geometry().boundingBox()
    extent.setXMaximum(extent.center().x())
    outlines.changeGeometry(glacier.id(), glacier.geometry().clipped(extent))
    saved = [layer.commitChanges() for layer in (checked, outlines)]
    saved.append(project.write())
    project.clear()
    application.exitQgis()
    sys.exit(0 if all(saved) else f"not saved: {saved}")


if __name__ == "__main__":
    main(*sys.argv[1:])
