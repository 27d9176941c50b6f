"""Layers of a QGIS project, and the XML that QGIS reads, for version 3.22 and later."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path
from xml.etree import ElementTree as ET

from rasterio.crs import CRS

from glacierseg.vectors.layers import qml

_HEAD = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_IDS = uuid.UUID("6f0d3c1e-6f5e-5d0c-9b0a-5d2f3a1c7e42")
# Lines snap to the corners of the layer that is edited within so many pixels of the screen.
_SNAPPING = {"mode": 1, "type": 1, "unit": 1, "tolerance": 12, "intersection_snapping": 0, "self_snapping": 0}
_BOX = ("xmin", "ymin", "xmax", "ymax")
_CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Colours:
    """Three bands as red, green and blue.

    Attributes:
        bands: Their 1-based numbers.
        limits: The values of each that become black and full colour.
        exponent: Of the shares between them; below 1 brightens.
        alpha: Number of the band that is 0 where there is no data; None where values say so.
        nodata: Value of pixels without data, by number of the band.
    """

    bands: tuple[int, int, int]
    limits: Sequence[tuple[float, float]]
    exponent: float = 1.0
    alpha: int | None = None
    nodata: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ramp:
    """A band in colours `#rrggbb` by value, that change evenly between them."""

    stops: Mapping[float, str]
    band: int = 1


@dataclass(frozen=True)
class Classes:
    """The first band by class: for each value a label, a colour and an opacity (0-1); others are not seen."""

    entries: Mapping[int, tuple[str, str, float]]


@dataclass(frozen=True)
class RasterLayer:
    """A raster of a project.

    Attributes:
        name: What the analyst reads.
        path: Its file.
        crs: Its CRS.
        style: Its colours.
        shown: Whether it is switched on.
    """

    name: str
    path: Path
    crs: CRS
    style: Colours | Ramp | Classes
    shown: bool = False


@dataclass(frozen=True)
class VectorLayer:
    """A vector layer of a project.

    Attributes:
        name: What the analyst reads.
        path: Its file.
        crs: Its CRS.
        layer: Its name in the file.
        style: Name of its style, one of `vectors.layers.STYLES`.
        label: Column of the labels and of the map tip; None for none.
        shown: Whether it is switched on.
        editable: Whether it may be edited; all others are protected.
        defaults: By column, the expression of its value in new features, and whether each edit sets it again.
    """

    name: str
    path: Path
    crs: CRS
    layer: str
    style: str
    label: str | None = None
    shown: bool = False
    editable: bool = False
    defaults: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


Layer = RasterLayer | VectorLayer


@dataclass(frozen=True)
class Group:
    """Layers and groups, the uppermost first; of those of a choice one at a time is switched on."""

    name: str
    members: "Sequence[Layer | Group]"
    shown: bool = True
    expanded: bool = True
    is_choice: bool = False


@dataclass(frozen=True)
class ProjectLayers:
    """What a project shows.

    Attributes:
        title: Its title.
        crs: CRS of the map.
        extent: What is seen at first: west, south, east and north in that CRS.
        members: Layers and groups, the uppermost first.
    """

    title: str
    crs: CRS
    extent: tuple[float, float, float, float]
    members: Sequence[Layer | Group]


def document(project: ProjectLayers, folder: Path) -> bytes:
    """Returns the XML of a project that lies in a folder."""
    placed = list(_placed(project.members))
    edited = [name for name, layer in placed if isinstance(layer, VectorLayer) and layer.editable]
    ids = {id(layer): name for name, layer in placed}
    root = node(
        "qgis",
        node("title", project.title),
        node("projectCrs", _crs(project.crs)),
        node("layer-tree-group", *(_tree(member, ids) for member in project.members)),
        node("snapping-settings", enabled=int(bool(edited)), **_SNAPPING),
        node(
            "mapcanvas",
            node("extent", *(node(*each) for each in zip(_BOX, project.extent, strict=True))),
            node("destinationsrs", _crs(project.crs)),
            name="theMapCanvas",
        ),
        node("projectlayers", *(_layer(layer, name, folder) for name, layer in placed)),
        _properties(edited),
        node(
            "ProjectViewSettings",
            node("DefaultViewExtent", _crs(project.crs), **dict(zip(_BOX, project.extent, strict=True))),
        ),
        projectname=project.title,
        version="3.22.0",
    )
    xml: bytes = ET.tostring(root, encoding="utf-8")
    return _HEAD + xml


def relative(path: Path, folder: Path) -> str:
    """Returns the path of a file as seen from a folder, as QGIS writes it; what is no file as it is."""
    text = str(path)
    if text.startswith("/vsi") or (":" in path.name and not path.exists()):
        return text
    try:
        seen = Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive of Windows
        return path.absolute().as_posix()
    return seen if seen.startswith("../") else f"./{seen}"


def node(tag: str, /, *inside: "ET.Element | str | float", **attributes: object) -> ET.Element:
    """An element with others or a text inside; hyphens in names of attributes are written as underscores."""
    made = ET.Element(tag, {name.replace("_", "-"): _text(value) for name, value in attributes.items()})
    for one in inside:
        if isinstance(one, ET.Element):
            made.append(one)
        else:
            made.text = _text(one)
    return made


def _text(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _properties(edited: Sequence[str]) -> ET.Element:
    """Edits keep borders that outlines share, new outlines end where others begin, areas are true ones."""

    def entry(tag: str, kind: str, *inside: ET.Element | str) -> ET.Element:
        return node(tag, *inside, type=kind)

    return node(
        "properties",
        node(
            "Digitizing",
            entry("AvoidIntersectionsList", "QStringList", *(node("value", name) for name in edited)),
            entry("AvoidIntersectionsMode", "int", "2"),
            entry("TopologicalEditing", "int", "1"),
        ),
        node("Measure", entry("Ellipsoid", "QString", "EPSG:7030")),
        node(
            "Measurement", entry("AreaUnits", "QString", "km2"), entry("DistanceUnits", "QString", "meters")
        ),
        node("Paths", entry("Absolute", "bool", "false")),
        # Without it QGIS leaves the CRS of the project aside.
        node("SpatialRefSys", entry("ProjectionsEnabled", "int", "1")),
    )


def _placed(members: Sequence[Layer | Group], above: str = "") -> Iterator[tuple[str, Layer]]:
    """Yields every layer with an id that its place among the groups gives."""
    for number, member in enumerate(members):
        place = f"{above}/{number} {member.name}"
        if isinstance(member, Group):
            yield from _placed(member.members, place)
        else:
            yield f"layer_{uuid.uuid5(_IDS, place).hex}", member


def _tree(member: Layer | Group, ids: Mapping[int, str]) -> ET.Element:
    state = {"name": member.name, "checked": f"Qt::{'Checked' if member.shown else 'Unchecked'}"}
    if not isinstance(member, Group):
        return node("layer-tree-layer", **state, id=ids[id(member)], expanded=0)
    if member.is_choice:
        chosen = next((number for number, one in enumerate(member.members) if one.shown), -1)
        state |= {"mutually_exclusive": "1", "mutually_exclusive_child": str(chosen)}
    inside = (_tree(one, ids) for one in member.members)
    return node("layer-tree-group", *inside, **state, expanded=int(member.expanded))


def _crs(crs: CRS) -> ET.Element:
    """By its definition, which says what an EPSG code says, and also where there is none."""
    return node("spatialrefsys", node("wkt", crs.to_wkt(version="WKT2_2019")))


def _layer(layer: Layer, name: str, folder: Path) -> ET.Element:
    source, kind = relative(layer.path, folder), ("raster", "gdal")
    inside, more = [], {}
    if isinstance(layer, RasterLayer):
        inside = [*_nodata(layer.style), _pipe(layer.style)]
    else:
        source, kind = f"{source}|layername={layer.layer}", ("vector", "ogr")
        inside = list(_looks(layer))
        more = {"readOnly": int(not layer.editable), "labelsEnabled": int(layer.label is not None)}
    return node(
        "maplayer",
        node("id", name),
        node("datasource", source),
        node("layername", layer.name),
        node("srs", _crs(layer.crs)),
        node("provider", kind[1]),
        *inside,
        type=kind[0],
        **more,
    )


def _looks(layer: VectorLayer) -> Iterator[ET.Element]:
    yield from ET.fromstring(qml(layer.style, layer.label))  # noqa: S314  (our own)
    if layer.label:
        yield node("mapTip", f'<b>[% "{layer.label}" %]</b>')
    yield node(
        "defaults",
        *(
            node("default", field=column, expression=value, applyOnUpdate=int(again))
            for column, (value, again) in layer.defaults.items()
        ),
    )


def _nodata(style: Colours | Ramp | Classes) -> Iterator[ET.Element]:
    if isinstance(style, Colours):
        yield node(
            "noData",
            *(
                node("noDataList", node("noDataRange", min=value, max=value), bandNo=band, useSrcNoData=1)
                for band, value in style.nodata.items()
            ),
        )


def _pipe(style: Colours | Ramp | Classes) -> ET.Element:
    gamma = 1 / style.exponent if isinstance(style, Colours) else 1
    return node("pipe", _renderer(style), node("brightnesscontrast", brightness=0, contrast=0, gamma=gamma))


@singledispatch
def _renderer(style: Colours | Ramp | Classes) -> ET.Element:
    raise TypeError(style)


@_renderer.register
def _(style: Colours) -> ET.Element:
    bands = {f"{channel}Band": band for channel, band in zip(_CHANNELS, style.bands, strict=True)}
    stretches = [
        node(
            f"{channel}ContrastEnhancement",
            node("minValue", low),
            node("maxValue", high),
            node("algorithm", "StretchToMinimumMaximum"),
        )
        for channel, (low, high) in zip(_CHANNELS, style.limits, strict=True)
    ]
    return node(
        "rasterrenderer", *stretches, type="multibandcolor", opacity=1, alphaBand=style.alpha or -1, **bands
    )


@_renderer.register
def _(style: Ramp) -> ET.Element:
    shader = node(
        "colorrampshader",
        *(
            node("item", value=value, label=value, color=colour, alpha=255)
            for value, colour in style.stops.items()
        ),
        colorRampType="INTERPOLATED",
        classificationMode=1,
        clip=0,
        minimumValue=min(style.stops),
        maximumValue=max(style.stops),
    )
    inside = node("rastershader", shader)
    return node(
        "rasterrenderer", inside, type="singlebandpseudocolor", opacity=1, alphaBand=-1, band=style.band
    )


@_renderer.register
def _(style: Classes) -> ET.Element:
    entries = [
        node("paletteEntry", value=value, label=label, color=colour, alpha=round(255 * opacity))
        for value, (label, colour, opacity) in style.entries.items()
    ]
    return node(
        "rasterrenderer", node("colorPalette", *entries), type="paletted", opacity=1, alphaBand=-1, band=1
    )
