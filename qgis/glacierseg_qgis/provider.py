"""The provider of algorithms that QGIS loads, and its setting."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from glacierseg_qgis.algorithm import CommandAlgorithm, Home
from glacierseg_qgis.algorithms import read_contents

_HERE = Path(__file__).parent
_COMMAND = "GLACIERSEG_COMMAND"


class Provider(QgsProcessingProvider):
    """The commands of glacierseg."""

    def id(self) -> str:
        """Returns the name before the colon of each algorithm."""
        return "glacierseg"

    def name(self) -> str:
        """Returns the name in the toolbox."""
        return "glacierseg"

    def longName(self) -> str:  # noqa: N802
        """Returns the name in lists of providers."""
        return "glacierseg: glacier inventories from satellite scenes"

    def icon(self) -> QIcon:
        """Returns the picture in the toolbox."""
        return QIcon(str(_HERE / "icon.svg"))

    def load(self) -> bool:
        """Adds the setting and the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        what = "The glacierseg command, or a folder that holds it; empty for the search path"
        ProcessingConfig.addSetting(Setting(self.name(), _COMMAND, what, "", valuetype=Setting.FILE))
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Takes the setting away."""
        ProcessingConfig.removeSetting(_COMMAND)

    def loadAlgorithms(self) -> None:  # noqa: N802
        """Makes an algorithm of each description."""
        contents = read_contents(_HERE / "algorithms.json")
        home = Home(_HERE, contents, lambda: str(ProcessingConfig.getSetting(_COMMAND) or ""))
        for one in contents.algorithms:
            self.addAlgorithm(CommandAlgorithm(one, home))

    def supportsNonFileBasedOutput(self) -> bool:  # noqa: N802
        """Returns that results are files."""
        return False

    def supportedOutputVectorLayerExtensions(self) -> list[str]:  # noqa: N802
        """Returns the format of outlines that holds several layers and their styles."""
        return ["gpkg"]

    def supportedOutputRasterLayerExtensions(self) -> list[str]:  # noqa: N802
        """Returns the format of rasters."""
        return ["tif"]


class Plugin:
    """What QGIS makes when the plug-in is switched on."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    def initProcessing(self) -> None:  # noqa: N802
        """Adds the provider; all that `qgis_process` calls."""
        self._provider = Provider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:  # noqa: N802
        """Adds the provider to a window."""
        self.initProcessing()

    def unload(self) -> None:
        """Takes the provider away."""
        QgsApplication.processingRegistry().removeProvider(self._provider)
