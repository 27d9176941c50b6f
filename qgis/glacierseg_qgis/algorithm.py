"""One class for all algorithms: a dialog from a description, and a command from the dialog."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProviderRegistry,
)
from qgis.PyQt.QtGui import QIcon

from glacierseg_qgis import algorithms as kinds
from glacierseg_qgis.algorithms import Algorithm, Contents, Parameter, Result
from glacierseg_qgis.command import CommandError, find_command, run, scenes_in

_LOAD = "LOAD"
_READ_AS_IT_IS = ["gpkg", "shp", "geojson", "fgb", "kml", "gml", "parquet", "tab"]


@dataclass(frozen=True)
class Home:
    """What all algorithms share: the folder of the plug-in, its contents, and what gives the setting."""

    folder: Path
    contents: Contents
    setting: Callable[[], str]


class CommandAlgorithm(QgsProcessingAlgorithm):
    """A command of glacierseg."""

    def __init__(self, described: Algorithm, home: Home) -> None:
        super().__init__()
        self._described, self._home = described, home
        self._setting = ""
        self._values: dict[str, Any] = {}

    def createInstance(self) -> CommandAlgorithm:  # noqa: N802
        """Returns a new one, as each run needs."""
        return CommandAlgorithm(self._described, self._home)

    def name(self) -> str:
        """Returns the name after the colon."""
        return self._described.name

    def displayName(self) -> str:  # noqa: N802
        """Returns the name in the toolbox."""
        return self._described.title

    def group(self) -> str:
        """Returns the heading in the toolbox."""
        return self._described.group

    def groupId(self) -> str:  # noqa: N802
        """Returns the same for programs."""
        return self._described.group.lower()

    def tags(self) -> list[str]:
        """Returns words by which the toolbox finds it."""
        return ["glacier", "ice", "glacierseg", *self._described.words]

    def icon(self) -> QIcon:
        """Returns the picture in the toolbox."""
        return QIcon(str(self._home.folder / "icon.svg"))

    def shortHelpString(self) -> str:  # noqa: N802
        """Returns what stands beside the dialog."""
        rows = "".join(
            f"<p><b>{escape(one.label)}</b><br>{escape(one.help)}</p>"
            for one in self._described.parameters
            if len(one.help) > len(one.label) + 1  # all others say it in their label
        )
        return f"<p>{escape(self._described.help)}</p>{rows}"

    def initAlgorithm(self, _: Any = None) -> None:  # noqa: N802
        """Makes the dialog."""
        for one in self._described.parameters:
            made = _PARAMETERS[one.kind](one, self._home.contents)
            made.setHelp(f"{one.help} [{one.flag}]" if one.flag else one.help)
            flags = made.flags()
            if not one.required:
                flags |= QgsProcessingParameterDefinition.FlagOptional
            if one.advanced:
                flags |= QgsProcessingParameterDefinition.FlagAdvanced
            made.setFlags(flags)
            self.addParameter(made)
        if self._makes_folder and self._described.results:
            self.addParameter(_boolean(_LOAD, "Load the results into the project", default=True))
            for result in self._described.results:
                kind = QgsProcessingOutputVectorLayer if result.layers else QgsProcessingOutputRasterLayer
                self.addOutput(kind(result.name, result.label))

    @property
    def _makes_folder(self) -> bool:
        output = self._described.output
        return output is not None and output.kind == kinds.TO_FOLDER

    def checkParameterValues(self, parameters: Any, context: Any) -> tuple[bool, str]:  # noqa: N802
        """Refuses layers whose file is not what the map shows."""
        for one in self._described.parameters:
            if one.kind in {kinds.OUTLINES, kinds.EITHER} and parameters.get(one.name):
                layer = self.parameterAsLayer(parameters, one.name, context)
                if layer is not None and layer.isEditable() and layer.isModified():
                    cure = "save them (Layer > Save Layer Edits) and run it again"
                    return False, f"{layer.name()}: has edits that are not saved; {cure}"
        checked: tuple[bool, str] = super().checkParameterValues(parameters, context)
        return checked

    def prepareAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> bool:  # noqa: N802
        """Reads the dialog, in the thread of the layers."""
        self._setting = self._home.setting()
        for one in self._described.parameters:
            if one.kind not in kinds.OUTPUTS:
                self._values[one.name] = self._value(one, parameters, context, feedback)
        return True

    def _value(self, one: Parameter, parameters: Any, context: Any, feedback: Any) -> Any:
        """Returns what `Algorithm.command_words` takes for a parameter; None where it was not given."""
        given = parameters.get(one.name)
        if given is None or given == "":
            return None
        if one.kind in {kinds.OUTLINES, kinds.EITHER}:
            return self._layer(one, parameters, context, feedback)
        if one.kind == kinds.EXTENT:
            degrees = QgsCoordinateReferenceSystem("EPSG:4326")
            box = self.parameterAsExtent(parameters, one.name, context, degrees)
            corners = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
            return None if box.isNull() else ",".join(f"{number:.7f}" for number in corners)
        readers: dict[str, Callable[..., Any]] = {
            kinds.RASTER: lambda *asked: _path_of(self.parameterAsRasterLayer(*asked), one),
            kinds.RASTERS: lambda *asked: [_path_of(each, one) for each in self.parameterAsLayerList(*asked)],
            kinds.FILES: self.parameterAsFileList,
            kinds.FLAG: self.parameterAsEnumString if one.choices else self.parameterAsBoolean,
            kinds.INTEGER: self.parameterAsInt,
            kinds.NUMBER: self.parameterAsDouble,
            kinds.CHOICE: self.parameterAsEnumString,
            kinds.WEIGHTS: self.parameterAsEnumString,
        }
        read = readers.get(one.kind) or self.parameterAsString
        return read(parameters, one.name, context)

    def _layer(self, one: Parameter, parameters: Any, context: Any, feedback: Any) -> Any:
        """Returns the file of a layer and its name in there; a raster has the file alone."""
        layer = self.parameterAsLayer(parameters, one.name, context)
        if layer is not None and hasattr(layer, "bandCount"):
            return _path_of(layer, one)
        how = (parameters, one.name, context, _READ_AS_IT_IS, "gpkg", feedback)
        path, name = self.parameterAsCompatibleSourceLayerPathAndLayerName(*how)
        if not one.layer and (not one.beside or path != (self._values.get(one.beside) or ("",))[0]):
            # The command takes the file alone; a layer of several is copied to a file of its own.
            path, name = self.parameterAsCompatibleSourceLayerPath(*how), ""
        if not path:
            raise QgsProcessingException(f"{one.label}: no layer can be read there; choose another one")
        return path, name

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:  # noqa: N802
        """Runs the command; its error becomes the one of the algorithm."""
        output = self._described.output
        target = ""
        if output is not None:
            read = self.parameterAsString if output.kind == kinds.TO_FOLDER else self.parameterAsOutputLayer
            target = self._values[output.name] = read(parameters, output.name, context)
        words = self._described.command_words(self._values)
        feedback.pushCommandInfo(" ".join(map(quote, ["glacierseg", *words])))
        try:
            command = find_command(self._setting, self._home.contents.version)
            lines = run(command, words, _Feedback(feedback))
        except CommandError as error:
            raise QgsProcessingException(str(error)) from error
        if output is None:
            return {}
        results: dict[str, Any] = {output.name: target}
        if not self._makes_folder:
            self._style_output(target, context)
            return results
        described = self._described.results
        if not described:
            return results
        load = self.parameterAsBoolean(parameters, _LOAD, context)
        for folder, scene in scenes_in(Path(target), described[0].suffix, lines):
            for result in described:
                file = folder / (scene + result.suffix)
                if file.is_file():
                    results.setdefault(result.name, _source(file, result))
                    if load:
                        self._load(file, result, scene, context)
        return results

    def _style_output(self, target: str, context: Any) -> None:
        """Loads a single output, if the dialog says so, with each of its layers and with our styles."""
        if not self._described.results or not context.willLoadLayerOnCompletion(target):
            return
        result = self._described.results[0]
        details = context.layerToLoadOnCompletionDetails(target)
        if not result.layers:
            details.setPostProcessor(_Style.named(result.style, self._home))
            return
        wanted = context.layersToLoadOnCompletion()
        wanted.pop(target)
        for layer in result.layers:
            name = layer if len(result.layers) > 1 else details.name
            wanted[f"{target}|layername={layer}"] = self._details(
                name, details.outputName, layer, details.project
            )
        context.setLayersToLoadOnCompletion(wanted)

    def _load(self, file: Path, result: Result, scene: str, context: Any) -> None:
        if context.project() is None:
            return
        for layer in result.layers or ("",):
            source = f"{file}|layername={layer}" if layer else str(file)
            details = self._details(
                f"{scene} {result.label}".strip(), result.name, layer or result.style, context.project()
            )
            context.addLayerToLoadOnCompletion(source, details)

    def _details(self, name: str, output: str, style: str, project: Any) -> Any:
        details = QgsProcessingContext.LayerDetails(name, project, output)
        details.setPostProcessor(_Style.named(style, self._home))
        return details


class _Feedback:
    """Hands on to QGIS what the command says."""

    def __init__(self, feedback: Any) -> None:
        self._feedback = feedback
        self._label = ""

    def info(self, text: str) -> None:
        self._feedback.pushInfo(text)

    def warning(self, text: str) -> None:
        self._feedback.pushWarning(text)

    def progress(self, share: float, label: str) -> None:
        if label != self._label:
            self._label = label
            self._feedback.setProgressText(label)
        self._feedback.setProgress(100 * share)

    def is_cancelled(self) -> bool:
        return bool(self._feedback.isCanceled())


class _Style(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer the style of its file, or else ours of that name."""

    # Python would drop what only QGIS holds, and QGIS deletes each with the context of its run.
    _kept: list[_Style] = []  # noqa: RUF012

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    @classmethod
    def named(cls, name: str, home: Home) -> _Style:
        """Returns one for a name."""
        cls._kept.append(cls(home.folder / f"{name}.qml"))
        return cls._kept[-1]

    def postProcessLayer(self, layer: Any, _: Any, feedback: Any) -> None:  # noqa: N802
        """Is called by QGIS with the layer."""
        if layer.loadDefaultStyle()[1] or not self._file.is_file():
            return
        said, done = layer.loadNamedStyle(str(self._file))
        if not done:
            feedback.pushWarning(f"{self._file.name}: {said}")


def _source(file: Path, result: Result) -> str:
    return f"{file}|layername={result.layers[0]}" if result.layers else str(file)


def _path_of(layer: Any, one: Parameter) -> str:
    """Returns the file of a raster layer."""
    if layer is None or layer.providerType() != "gdal":
        raise QgsProcessingException(f"{one.label}: no raster file can be read there; choose another one")
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    whole = parts.get("layerName") or not parts.get("path") or parts.get("vsiPrefix")
    return str(layer.source() if whole else os.path.abspath(parts["path"]))


def _boolean(name: str, label: str, *, default: bool) -> Any:
    return QgsProcessingParameterBoolean(name, label, defaultValue=default)


def _choice(one: Parameter, contents: Contents) -> Any:
    options = list(contents.weights if one.kind == kinds.WEIGHTS else one.choices)
    return QgsProcessingParameterEnum(one.name, one.label, options, optional=True, usesStaticStrings=True)


def _flag(one: Parameter, contents: Contents) -> Any:
    if one.choices:
        return _choice(one, contents)
    return _boolean(one.name, one.label, default=bool(one.default))


def _number(one: Parameter, _: Contents) -> Any:
    whole = QgsProcessingParameterNumber.Integer
    kind = whole if one.kind == kinds.INTEGER else QgsProcessingParameterNumber.Double
    return QgsProcessingParameterNumber(one.name, one.label, kind, one.default, optional=True)


def _files(kind: int) -> Callable[[Parameter, Contents], Any]:
    return lambda one, _: QgsProcessingParameterMultipleLayers(one.name, one.label, kind)


def _text(one: Parameter, _: Contents) -> Any:
    return QgsProcessingParameterString(one.name, one.label, multiLine=one.kind == kinds.LINES)


def _file(one: Parameter, _: Contents) -> Any:
    folder = one.kind == kinds.FOLDER
    behaviour = QgsProcessingParameterFile.Folder if folder else QgsProcessingParameterFile.File
    return QgsProcessingParameterFile(one.name, one.label, behaviour)


_POLYGONS = QgsProcessing.TypeVectorPolygon
_PARAMETERS: dict[str, Callable[[Parameter, Contents], Any]] = {
    kinds.RASTER: lambda one, _: QgsProcessingParameterRasterLayer(one.name, one.label),
    kinds.RASTERS: _files(QgsProcessing.TypeRaster),
    kinds.OUTLINES: lambda one, _: QgsProcessingParameterFeatureSource(one.name, one.label, [_POLYGONS]),
    kinds.EITHER: lambda one, _: QgsProcessingParameterMapLayer(
        one.name, one.label, types=[QgsProcessing.TypeRaster, _POLYGONS]
    ),
    kinds.FILE: _file,
    kinds.FILES: _files(QgsProcessing.TypeFile),
    kinds.FOLDER: _file,
    kinds.EXTENT: lambda one, _: QgsProcessingParameterExtent(one.name, one.label),
    kinds.FLAG: _flag,
    kinds.INTEGER: _number,
    kinds.NUMBER: _number,
    kinds.TEXT: _text,
    kinds.LINES: _text,
    kinds.CHOICE: _choice,
    kinds.WEIGHTS: _choice,
    kinds.TO_RASTER: lambda one, _: QgsProcessingParameterRasterDestination(one.name, one.label),
    kinds.TO_OUTLINES: lambda one, _: QgsProcessingParameterVectorDestination(one.name, one.label),
    kinds.TO_FOLDER: lambda one, _: QgsProcessingParameterFolderDestination(one.name, one.label),
}
