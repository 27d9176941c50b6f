"""Edits a `corrections.gpkg` in QGIS and keeps it open meanwhile. Run by the Python that QGIS has.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 edit_layers.py CORRECTIONS.gpkg COMMAND...

COMMAND runs after the edits were saved, while QGIS holds the file open, with one that was not saved.
"""

import subprocess
import sys
from typing import Any

from qgis.core import QgsApplication, QgsFeature, QgsGeometry, QgsPointXY, QgsVectorLayer


def add(layer: Any, wkt: str, **fields: str) -> None:
    feature = QgsFeature(layer.fields())
    for name, value in fields.items():
        feature[name] = value
    feature.setGeometry(QgsGeometry.fromWkt(wkt))
    assert layer.addFeature(feature)


def main(path: str, *command: str) -> None:
    outlines, checked = (
        QgsVectorLayer(f"{path}|layername={name}", name, "ogr") for name in ("outlines", "checked")
    )
    assert outlines.isValid()
    assert checked.isValid()
    assert outlines.startEditing()
    assert checked.startEditing()
    outlines.splitFeatures([QgsPointXY(700_070, 3_600_100), QgsPointXY(700_070, 3_599_000)])
    (second,) = (one.id() for one in outlines.getFeatures() if one["glacier_id"] == "2")
    outlines.deleteFeature(second)
    # The ring crosses itself.
    add(outlines, "Polygon((700020 3599800, 700100 3599760, 700100 3599800, 700020 3599760, 700020 3599800))")
    add(checked, "Polygon((700000 3600000, 700280 3600000, 700280 3599760, 700000 3599760, 700000 3600000))",
        analyst="anna")  # fmt: skip
    assert outlines.commitChanges(False), outlines.commitErrors()
    assert checked.commitChanges(False), checked.commitErrors()
    outlines.deleteFeature(next(outlines.getFeatures()).id())
    subprocess.run(command, check=True)
    outlines.rollBack()
    checked.rollBack()


application = QgsApplication([], False)
application.initQgis()
main(*sys.argv[1:])
application.exitQgis()
