"""Projects as files: what their XML says, the same bytes each time, and never over an analyst's work."""

import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rasterio.crs import CRS

from glacierseg.errors import RequestError
from glacierseg.review.project import write_project
from glacierseg.review.qgs import (
    Classes,
    Colours,
    Group,
    ProjectLayers,
    Ramp,
    RasterLayer,
    VectorLayer,
)

UTM = CRS.from_epsg(32645)
ODD = CRS.from_proj4("+proj=laea +lat_0=28.1 +lon_0=86.9 +ellps=WGS84 +units=m")
NAMES = "Glaciers & <ice> of Bhagīrathī"


def layers(folder: Path) -> ProjectLayers:
    colours = Colours((3, 2, 1), ((0.0, 1.5), (2.0, 3.0), (4.0, 5.0)), 0.5, alpha=4, nodata={3: -9999.0})
    ramp = Ramp({0.0: "#000000", 1.0: "#ffffff"})
    return ProjectLayers(
        NAMES,
        UTM,
        (1.0, 2.0, 3.0, 4.0),
        [
            VectorLayer(
                "Edit", folder / "a.gpkg", UTM, "outlines", "raw", "glacier_id", shown=True, editable=True,
                defaults={"analyst": ("'x'", True)},
            ),
            VectorLayer("Fixed", folder / "a.gpkg", UTM, "smooth", "smooth"),
            Group(
                "Scene",
                [
                    RasterLayer("One", folder / "in" / "one two.tif", ODD, colours),
                    RasterLayer("Two", folder.parent / "two.tif", UTM, ramp, shown=True),
                    RasterLayer("Three", folder / "c.tif", UTM, Classes({1: ("ice & snow", "#0072B2", 0.4)})),
                ],
                is_choice=True,
            ),
        ],
    )  # fmt: skip


def xml_of(path: Path) -> ET.Element:
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        assert name == f"{path.stem}.qgs"
        return ET.fromstring(archive.read(name))  # noqa: S314  (our own)


def attributes(root: ET.Element, path: str) -> list[dict[str, str]]:
    return [dict(one.attrib) for one in root.findall(path)]


def test_a_project_names_its_layers_by_paths_that_move_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert write_project(folder / "p.qgz", layers(folder))
    root = xml_of(folder / "p.qgz")
    assert [one.text for one in root.findall("projectlayers/maplayer/datasource")] == [
        "./a.gpkg|layername=outlines",
        "./a.gpkg|layername=smooth",
        "./in/one two.tif",
        "../two.tif",
        "./c.tif",
    ]
    assert root.findtext("properties/Paths/Absolute") == "false"
    assert root.findtext("title") == NAMES
    ids = [one.text for one in root.findall("projectlayers/maplayer/id")]
    assert len(set(ids)) == 5
    assert [one.get("id") for one in root.iter("layer-tree-layer")] == ids


def test_a_project_keeps_the_order_groups_and_switches(tmp_path: Path) -> None:
    write_project(tmp_path / "p.qgz", layers(tmp_path))
    root = xml_of(tmp_path / "p.qgz")
    tree = root.findall("layer-tree-group/*")
    assert [(one.tag, one.get("name"), one.get("checked")) for one in tree] == [
        ("layer-tree-layer", "Edit", "Qt::Checked"),
        ("layer-tree-layer", "Fixed", "Qt::Unchecked"),
        ("layer-tree-group", "Scene", "Qt::Checked"),
    ]
    assert tree[2].get("mutually-exclusive-child") == "1"


def test_only_what_is_to_be_edited_can_be(tmp_path: Path) -> None:
    write_project(tmp_path / "p.qgz", layers(tmp_path))
    root = xml_of(tmp_path / "p.qgz")
    vectors = root.findall("projectlayers/maplayer[@type='vector']")
    assert [one.get("readOnly") for one in vectors] == ["0", "1"]
    assert [one.get("labelsEnabled") for one in vectors] == ["1", "0"]
    assert attributes(vectors[0], "defaults/default") == [
        {"field": "analyst", "expression": "'x'", "applyOnUpdate": "1"}
    ]
    assert root.findtext("properties/Digitizing/AvoidIntersectionsList/value") == vectors[0].findtext("id")
    assert attributes(root, "snapping-settings")[0]["enabled"] == "1"
    without = replace(layers(tmp_path), members=layers(tmp_path).members[1:])
    write_project(tmp_path / "q.qgz", without)
    assert attributes(xml_of(tmp_path / "q.qgz"), "snapping-settings")[0]["enabled"] == "0"


def test_rasters_have_their_bands_stretch_and_colours(tmp_path: Path) -> None:
    write_project(tmp_path / "p.qgz", layers(tmp_path))
    colours, ramp, classes = xml_of(tmp_path / "p.qgz").findall("projectlayers/maplayer[@type='raster']")
    renderer = attributes(colours, "pipe/rasterrenderer")[0]
    assert [renderer[f"{name}Band"] for name in ("red", "green", "blue", "alpha")] == ["3", "2", "1", "4"]
    assert colours.findtext("pipe/rasterrenderer/redContrastEnhancement/maxValue") == "1.5"
    assert attributes(colours, "pipe/brightnesscontrast")[0]["gamma"] == "2"
    assert attributes(colours, "noData/noDataList/noDataRange") == [{"min": "-9999", "max": "-9999"}]
    assert [
        one["color"] for one in attributes(ramp, "pipe/rasterrenderer/rastershader/colorrampshader/item")
    ] == [
        "#000000",
        "#ffffff",
    ]
    assert attributes(classes, "pipe/rasterrenderer/colorPalette/paletteEntry") == [
        {"value": "1", "label": "ice & snow", "color": "#0072B2", "alpha": "102"}
    ]


def test_a_crs_without_a_code_is_written_by_its_definition(tmp_path: Path) -> None:
    write_project(tmp_path / "p.qgz", layers(tmp_path))
    wkt = xml_of(tmp_path / "p.qgz").findtext("projectlayers/maplayer[3]/srs/spatialrefsys/wkt")
    assert CRS.from_wkt(str(wkt)) == ODD


def test_the_same_layers_give_the_same_bytes_and_are_not_written_again(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "p.qgz", tmp_path / "two" / "p.qgz"
    for path in (first, second):
        assert write_project(path, layers(path.parent))
    assert first.read_bytes() == second.read_bytes()
    assert not write_project(first, layers(first.parent))
    changed = replace(layers(first.parent), title="another")
    assert write_project(first, changed)
    assert xml_of(first).findtext("title") == "another"


@pytest.mark.parametrize("kind", ["saved by QGIS", "no archive"])
def test_what_an_analyst_saved_is_never_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "p.qgz"
    write_project(path, layers(tmp_path))
    if kind == "no archive":
        path.write_bytes(b"mine")
    else:
        # As QGIS does: the same members and more, without our comment.
        with zipfile.ZipFile(path) as archive:
            text = archive.read("p.qgs")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("p.qgs", text)
            archive.writestr("p.qgd", b"")
    before = path.read_bytes()
    caplog.set_level("INFO")
    assert not write_project(path, replace(layers(tmp_path), title="another"))
    assert path.read_bytes() == before
    assert "p.qgz: was changed in QGIS and stays as it is" in caplog.text
    path.unlink()
    assert write_project(path, layers(tmp_path))


def test_a_project_ends_in_qgz(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"end the name in \.qgz"):
        write_project(tmp_path / "p.qgs", layers(tmp_path))
