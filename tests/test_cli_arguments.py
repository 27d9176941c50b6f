"""Arguments the wrong way round, and outputs where none can be."""

import os
import re
import shlex
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box

from glacierseg.training.checkpoint import ModelCard, save_model
from tests.helpers import blobs, easy_scene, write_mask, write_scene
from tests.test_cli_writes import type_in


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file of each kind, in the current folder."""
    monkeypatch.chdir(tmp_path)
    mask = blobs(96, 96, 4)
    write_scene(Path("scene.tif"), easy_scene(mask), ["red", "green", "blue", "nir"])
    write_mask(Path("mask.tif"), mask)
    slope = np.linspace(2000, 2600, 96, dtype=np.float32)
    write_scene(Path("dem.tif"), np.tile(slope, (96, 1))[None], ["elevation"])
    write_scene(Path("probability.tif"), (easy_scene(mask)[:1] / 255).astype(np.float32), ["probability"])
    shape = box(700_100, 3_599_300, 700_600, 3_599_800)
    gpd.GeoDataFrame({"a": [1]}, geometry=[shape], crs=32643).to_file("outlines.gpkg")
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "nir"), band_mean=(100.0, 90.0),
        band_std=(40.0, 50.0), patch_px=32,
    )  # fmt: skip
    save_model(Path("model"), card.build(), card)
    return tmp_path


@pytest.mark.parametrize(
    "typed",
    [
        "predict scene.tif model --out 'new maps'",
        "bands scene.tif model --mask mask.tif --out b.csv --patches 1",
        "evaluate outlines.gpkg mask.tif --out s.json --bootstrap 0",
        "prepare rasterize scene.tif --like outlines.gpkg --out r.tif",
        "inventory dem.tif --dem mask.tif --out i.gpkg",
        "check outlines.gpkg --mask scene.tif",
        "check mask.tif --mask scene.tif",
        "tune outlines.gpkg --truth mask.tif --out t.json --iterations 0 --min-area-km2 0 --max-hole-km2 0",
        "vectorize probability.tif --probability mask.tif --out v.gpkg",
    ],
)
def test_the_other_way_round_is_told_with_the_command_that_works(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    before = sorted(ground.rglob("*"))
    assert type_in(shlex.split(typed), monkeypatch) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert sorted(ground.rglob("*")) == before
    found = re.search("belongs there; are they the other way round. Type `glacierseg (.*)`$", said.strip())
    assert found, said
    status = type_in(shlex.split(found[1]), monkeypatch)
    # A check of a small scene may find faults, but it reads both.
    assert status == 0 or (typed.startswith("check") and "glacier share" in capsys.readouterr().out)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("evaluate outlines.gpkg outlines.gpkg --out s.json", "is a file of outlines; a mask belongs there,"),
        ("compare mask.tif outlines.gpkg --truth mask.tif", "are they the other way round?\n"),
        ("refine scene.tif --out r.tif", "scene.tif: is a scene; a mask belongs there, which `glac"),
        ("refine probability.tif --out r.tif", "is a raster of probability; a mask belongs there, which"),
        ("vectorize model --out v.gpkg", "model: is the folder of a trained model; a mask belongs there"),
        ("inventory mask.tif --existing dem.tif --out i.gpkg", "dem.tif: is a raster of values; a file of o"),
        ("prepare align mask.tif --like outlines.gpkg --out r.tif", "is a file of outlines; a scene or a ra"),
        ("refine dem.tif --out r.tif", "dem.tif: mask holds"),  # its reader says more
        ("evaluate mask.tif missing.tif --out s.json", "missing.tif: "),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_for_what_it_is(
    ground: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    message: str,
) -> None:
    before = sorted(ground.rglob("*"))
    assert type_in(shlex.split(typed), monkeypatch) == 1
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1, said
    assert sorted(ground.rglob("*")) == before


WRITERS = {
    "predict model scene.tif": None,
    "prepare align mask.tif --like scene.tif": ".tif",
    "prepare rasterize outlines.gpkg --like scene.tif": ".tif",
    "prepare normalize scene.tif --ranges new.json": ".tif",
    "prepare select scene.tif --bands red": ".tif",
    "prepare stack scene.tif dem.tif": ".tif",
    "refine mask.tif": ".tif",
    "vectorize mask.tif": ".gpkg",
    "inventory mask.tif": ".gpkg",
    "change mask.tif mask.tif": ".gpkg",
    "evaluate mask.tif mask.tif --bootstrap 0": ".json",
    "compare mask.tif mask.tif --truth mask.tif --bootstrap 20": ".json",
    "tune mask.tif --truth mask.tif --iterations 0 --min-area-km2 0 --max-hole-km2 0": ".json",
    "bands model scene.tif --mask mask.tif --patches 1": ".csv",
    "export model --to onnx": ".onnx",
}


@pytest.mark.parametrize("typed", WRITERS)
def test_an_output_that_cannot_be_is_one_line(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    suffix = WRITERS[typed]
    (ground / f"folder{suffix or ''}").mkdir()
    (ground / "read only").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, *how: Path(path).name != "read only" and real(path, *how))
    bad = ["scene.tif/new/out", "read only/new/out"]
    if suffix is not None:
        bad = [f"{name}{suffix}" for name in bad] + ["out.docx"]
        # A folder is where `change` puts its file.
        bad += [] if typed.startswith("change") else [f"folder{suffix}"]
    else:
        bad += ["scene.tif"]
    before = sorted(ground.rglob("*"))
    for out in bad:
        assert type_in([*shlex.split(typed), "--out", out], monkeypatch) == 1
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1, said
        assert said.startswith(f"glacierseg: {out}"), said
        assert "; " in said
        assert sorted(ground.rglob("*")) == before


@pytest.mark.parametrize("typed", [typed for typed in WRITERS if not typed.startswith(("bands", "export"))])
def test_an_output_with_spaces_and_signs_of_other_scripts_works(
    ground: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    out = f"Zañskar Gletscher/ज़ v1.2 #50%?/a b é{WRITERS[typed] or ''}"
    assert type_in([*shlex.split(typed), "--out", out], monkeypatch) == 0
    assert (ground / out).exists()
    assert type_in([*shlex.split(typed), "--out", out], monkeypatch) == 0
