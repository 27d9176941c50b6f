"""What an analyst does with the plug-in in one sitting, without a window. Run by the Python that QGIS has.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 drive.py PLUGINS COMMAND FOLDER

Prints what came of it as JSON. PLUGINS is the folder of the plug-in, COMMAND the `glacierseg` command, FOLDER
has `model`, `scene.tif` and `mask.tif` and gets the results.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

NONSENSE = (
    "PYTHONHOME",
    "PYTHONPATH",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_LIB",
    "PROJ_DATA",
    "QT_PLUGIN_PATH",
)


class Heard(QgsProcessingFeedback):  # type: ignore[misc]
    """What the command said, in the order of its kinds."""

    def __init__(self, cancel_at: float = 101) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []
        self.shares: list[float] = []
        self.progressChanged.connect(self._moved)
        self._cancel_at = cancel_at

    def _moved(self, percent: float) -> None:
        self.shares.append(percent)
        if percent >= self._cancel_at:
            self.cancel()

    def pushInfo(self, text: str) -> None:  # noqa: N802
        self.said.append(("info", text))

    def pushWarning(self, text: str) -> None:  # noqa: N802
        self.said.append(("warning", text))

    def pushCommandInfo(self, text: str) -> None:  # noqa: N802
        self.said.append(("command", text))

    def reportError(self, text: str, fatalError: bool = False) -> None:  # noqa: ARG002, N802, N803
        self.said.append(("error", text))


class Sitting:
    """Runs algorithms of the plug-in; remembers what each came to."""

    def __init__(self, plugins: str) -> None:
        sys.path[:0] = [plugins, str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins")]
        import processing
        from processing.core.Processing import Processing
        from processing.core.ProcessingConfig import ProcessingConfig

        from glacierseg_qgis import classFactory

        Processing.initialize()
        self._plugin = classFactory(None)
        self._plugin.initProcessing()
        self._processing, self._config = processing, ProcessingConfig
        self.found: dict[str, Any] = {}

    def use(self, command: str) -> None:
        """Sets the command in the options."""
        self._config.setSettingValue("GLACIERSEG_COMMAND", command)

    def run(
        self,
        key: str,
        algorithm: str,
        parameters: Mapping[str, Any],
        cancel_at: float = 101,
        *,
        load: bool = False,
    ) -> None:
        """Runs an algorithm and notes its results, or why there are none."""
        feedback, project = Heard(cancel_at), QgsProject.instance()
        before = set(project.mapLayers())
        entry: dict[str, Any] = {}
        try:
            how = self._processing.runAndLoadResults if load else self._processing.run
            entry["results"] = how(f"glacierseg:{algorithm}", dict(parameters), feedback=feedback)
        except QgsProcessingException as error:
            entry["error"] = str(error)
        entry |= {"said": feedback.said, "shares": feedback.shares}
        entry["layers"] = [
            {
                "name": layer.name(),
                "valid": layer.isValid(),
                "source": layer.source(),
                "renderer": layer.renderer().type(),
                "style": layer.renderer().dump() if isinstance(layer, QgsVectorLayer) else "",
                "features": layer.featureCount() if isinstance(layer, QgsVectorLayer) else None,
            }
            for name, layer in project.mapLayers().items()
            if name not in before
        ]
        self.found[key] = entry


def square(name: str, west: float, north: float, side: float) -> Any:
    """A temporary layer with two polygons that QGIS holds in memory."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32643&field=name:string", name, "memory")
    for number in range(2):
        feature = QgsFeature(layer.fields())
        corner = west + 2 * side * number
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(corner, north - side, corner + side, north)))
        feature["name"] = f"glacier {number}"
        layer.dataProvider().addFeatures([feature])
    QgsProject.instance().addMapLayer(layer)
    return layer


def main(plugins: str, command: str, folder: Path) -> None:
    """Goes through it all."""
    application = QgsApplication([], True)
    application.initQgis()
    sitting = Sitting(plugins)
    model, scene, mask = (str(folder / name) for name in ("model", "scene.tif", "mask.tif"))
    to = {"OUTPUT": "TEMPORARY_OUTPUT"}

    sitting.use(str(folder))
    sitting.run("missing", "refine", {"MASK": mask, **to})
    sitting.use(command)
    os.environ.update(dict.fromkeys(NONSENSE, "/nonsense"))
    sitting.run("map", "map", {"MODEL": model, "SCENE": scene, "OUTPUT": str(folder / "karte é")}, load=True)
    sitting.run("predict", "predict", {"MODEL": model, "SCENE": [scene], **to, "LOAD": False}, load=True)
    sitting.run("inventory", "inventory", {"SOURCE": mask, **to}, load=True)
    change = {"OLD": mask, "NEW": sitting.found["map"]["results"]["REFINED"], **to}
    sitting.run("change", "change", change, load=True)
    layer = QgsRasterLayer(mask, "a mask")
    QgsProject.instance().addMapLayer(layer)
    sitting.run("refine", "refine", {"MASK": layer, "SMOOTHING": "closing", **to}, load=True)
    sitting.run("wrong file", "refine", {"MASK": scene, **to})
    sitting.run("unusable", "check", {"SCENES": [scene], "TRUTH": str(folder / "elsewhere.tif")})

    memory = square("im Speicher é", 699_000, 3_601_000, 1000)
    sitting.run("memory", "inventory", {"SOURCE": memory, **to})
    memory.selectByIds([1])
    chosen = QgsProcessingFeatureSourceDefinition(memory.id(), selectedFeaturesOnly=True)
    sitting.run("selected", "inventory", {"SOURCE": mask, "EXISTING": chosen, **to})
    memory.startEditing()
    memory.deleteFeature(2)
    sitting.run("unsaved", "inventory", {"SOURCE": memory, **to})
    memory.rollBack()
    file = sitting.found["inventory"]["results"]["OUTPUT"]
    part = QgsVectorLayer(f"{file}|layername=glaciers", "a part", "ogr")
    sitting.run("named layer", "inventory", {"SOURCE": part, **to})
    part.setSubsetString("area_km2 > 0.5")
    QgsProject.instance().addMapLayer(part)
    sitting.found["in the part"] = part.featureCount()
    sitting.run("subset", "inventory", {"SOURCE": part, **to})

    slow = {"MODEL": model, "SCENE": [scene], "SYMMETRIES": "yes", "OVERLAP": 0.75}
    slow["OUTPUT"] = str(folder / "slow")
    sitting.run("cancelled", "predict", slow, cancel_at=50)
    sitting.found["left"] = sorted(os.listdir(folder / "slow"))  # noqa: PTH208
    sitting.run("resumed", "predict", slow)
    print(json.dumps(sitting.found))  # noqa: T201
    sys.stdout.flush()
    os._exit(0)  # QGIS without a window may crash when it is taken apart


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
