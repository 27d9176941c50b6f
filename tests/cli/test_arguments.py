"""Arguments the wrong way round, and outputs where none can be."""

import os
import re
import shlex
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from rasterio.rio.main import main_group
from shapely.geometry import box

from glacierseg.models.card import ModelCard, save_model
from glacierseg.settings import load_config
from tests.cli.test_writes import type_in
from tests.helpers import blobs, easy_scene, write_mask, write_scene
from tests.weights.shelves import reflectances


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
        "bands scene.tif model --truth mask.tif --out b.csv --patches 1",
        "evaluate outlines.gpkg mask.tif --out s.json --draws 0",
        "prepare rasterize scene.tif --like outlines.gpkg --out r.tif",
        "inventory dem.tif --dem mask.tif --out i.gpkg",
        "check outlines.gpkg --truth scene.tif",
        "check mask.tif --truth scene.tif",
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
        ("prepare normalize scene.tif --ranges scene.tif --out n.tif", "must end in .json; "),
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
    "evaluate mask.tif mask.tif --draws 0": ".json",
    "compare mask.tif mask.tif --truth mask.tif --draws 20": ".json",
    "tune mask.tif --truth mask.tif --iterations 0 --min-area-km2 0 --max-hole-km2 0": ".json",
    "bands model scene.tif --truth mask.tif --patches 1": ".csv",
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


def moved(name: str, out: str) -> None:
    """Writes a raster again, half a pixel further east."""
    with rasterio.open(name) as source:
        profile, values, names = source.profile, source.read(), source.descriptions
    profile |= {"transform": profile["transform"] @ Affine.translation(0.5, 0), "photometric": "MINISBLACK"}
    with rasterio.open(out, "w", **profile) as target:
        target.write(values)
        target.descriptions = tuple(f"{name}2" for name in names)


PRINTED = {
    "check scene.tif 'a moved scene.tif'": ("{}", "check scene.tif ALIGNED.tif"),
    "evaluate mask.tif 'a moved mask.tif' --out s.json --draws 0": (
        "mask.tif", "evaluate mask.tif ALIGNED.tif --out s.json --draws 0",
    ),
    "compare mask.tif 'a moved mask.tif' --truth mask.tif --draws 20": (
        "mask.tif", "compare mask.tif ALIGNED.tif --truth mask.tif --draws 20",
    ),
    "vectorize mask.tif --refined 'a moved mask.tif' --out v.gpkg": (
        "mask.tif", "vectorize mask.tif --refined ALIGNED.tif --out v.gpkg",
    ),
    "bands model scene.tif --truth 'a moved mask.tif' --out b.csv --patches 1": (
        "scene.tif", "bands model scene.tif --truth ALIGNED.tif --out b.csv --patches 1",
    ),
}  # fmt: skip
"""Commands that are refused, what SCENE stands for in the cure that is printed, and the command mended."""


@pytest.mark.parametrize("typed", PRINTED)
def test_a_printed_command_works_as_it_stands(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    for name in ("mask.tif", "scene.tif"):
        moved(name, f"a moved {name}")
    scene, mended = PRINTED[typed]
    assert type_in(shlex.split(typed), monkeypatch) == 1
    told = "".join(capsys.readouterr())
    found = re.search(r"run `glacierseg (prepare align [^`]*)`", told)
    assert found, told
    assert type_in(shlex.split(found[1].replace("SCENE", scene)), monkeypatch) == 0
    status = type_in(shlex.split(mended), monkeypatch)
    assert status == 0 or "truth grid" not in capsys.readouterr().out


STACK = "prepare stack --out s.tif"
LIGHT, SHARES = (f"{STACK} {name}.tif --recipe blue" for name in ("light", "shares"))
TUNE = "tune mask.tif --truth mask.tif --out t.json --iterations 0 --min-area-km2 0 --max-hole-km2 0"
S2 = "T45RVL_20240930T045659"


def more_scenes() -> None:
    """Writes scenes that lack what a command needs to know of them."""
    values = reflectances(96, 96, 3)
    for name, bands in {
        "numbers": ["B2", "B10"], "radar": ["coherence", "texture"], "reds": ["red one", "red two"],
        "light": ["blue", "nir"], f"{S2}_B02_10m": ["B02"], f"{S2}_B03_10m": ["B03"],
    }.items():  # fmt: skip
        write_scene(Path(f"{name}.tif"), values[: len(bands)], bands)
    write_scene(Path("lifted.tif"), values + np.uint16(1000), ["blue", "green", "red", "nir"])
    write_scene(Path("shares.tif"), (values[:2] / 1e4).astype(np.float32), ["blue", "nir"])
    zeros = values[:2].copy()
    zeros[:, :40] = 0
    write_scene(Path("zeros.tif"), zeros, ["blue", "nir"])
    with rasterio.open("probability.tif") as dataset:
        write_scene(Path("percent.tif"), 100 * dataset.read(), ["probability"])
    Path("copy.tif").write_bytes(Path("scene.tif").read_bytes())
    known = gpd.read_file("outlines.gpkg").assign(rgi_id="RGI60-14.00001")
    known.to_file("known.gpkg")


@pytest.mark.parametrize(
    ("typed", "cure", "more"),
    [
        ("refine mask.tif --out r.tif --max-hole-slope-deg 30", "--dem", "--dem dem.tif"),
        ("bands model scene.tif copy.tif --truth mask.tif --out b.csv", "one --truth", "--truth mask.tif"),
        (f"{TUNE} --test-mask mask.tif", "one --test-truth", "--test-truth mask.tif"),
        (f"{STACK} numbers.tif --recipe B2,B10 --scale 2", "mean with --sensor", "--sensor landsat8"),
        (f"{STACK} radar.tif --recipe texture", "'texture,' for one alone", "--recipe texture,"),
        (
            f"{STACK} radar.tif --recipe texture, --scale 2",
            "with --band-names", "--band-names blue,x --recipe blue",
        ),
        (f"{STACK} radar.tif --recipe red", "in file order with --band-names", "--band-names red,nir"),
        (f"{STACK} reds.tif --recipe red", "say which is which with --band-names", "--band-names red,other"),
        (f"{LIGHT} --scale 0.0001 --offset -1000", "--offset -0.1\n", "--scale 0.0001 --offset -0.1"),
        (f"{STACK} lifted.tif --recipe ndwi", "add --offset -1000 or", "--offset -1000"),
        (f"{STACK} lifted.tif --recipe ndwi", "--scale 0.0001 --offset", "--scale 0.0001 --offset -0.1"),
        (f"{STACK} lifted.tif --recipe ndwi", "or --offset 0 if the values", "--offset 0"),
        ("inventory mask.tif --out i.gpkg --divides terrain", "give --dem FILE", "--dem dem.tif"),
        ("inventory mask.tif --out i.gpkg --divides existing", "--existing FILE", "--existing outlines.gpkg"),
        ("change mask.tif mask.tif --out c.gpkg --old-date 2000", "--new-date", "--new-date 2020"),
        ("prepare stack scene.tif --out s.tif --scale 2", "--recipe B2,B3", "--recipe red,nir"),
        ("prepare stack scene.tif --out s.tif --recipe red,slope", "give one with --dem", "--dem dem.tif"),
        (f"{STACK} scene.tif mask.tif mask.tif", "(--band-names)", "--band-names a,b,c,d,e,f"),
        ("compare mask.tif mask.tif --truth two.gpkg --draws 20", "--truth-layer", "--truth-layer one"),
        ("prepare rasterize two.gpkg --like scene.tif --out r.tif", "say which with --layer", "--layer two"),
        ("inventory two.gpkg --out i.gpkg", "say which with --layer", "--layer one"),
        ("inventory mask.tif --existing two.gpkg --out i.gpkg", "--existing-layer", "--existing-layer one"),
        ("change two.gpkg two.gpkg --out c.gpkg --new-layer one", "--old-layer", "--old-layer two"),
        ("vectorize mask.tif --layers contour --out v.gpkg", "probability", "--probability probability.tif"),
        ("vectorize mask.tif --layers refined --out v.gpkg", "--refined", "--refined mask.tif"),
        ("vectorize mask.tif --out two.gpkg", "--overwrite to replace", "--overwrite"),
        ("inventory mask.tif --out two.gpkg", "--overwrite to replace", "--overwrite"),
        ("change mask.tif mask.tif --out two.gpkg", "--overwrite to replace", "--overwrite"),
    ],
)  # fmt: skip
def test_an_option_that_a_message_asks_for_is_enough(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    typed: str, cure: str, more: str,
) -> None:  # fmt: skip
    for layer in ("one", "two"):
        gpd.read_file("outlines.gpkg").to_file("two.gpkg", layer=layer)
    more_scenes()
    assert type_in(shlex.split(typed), monkeypatch) == 1
    assert cure in capsys.readouterr().err
    assert type_in(shlex.split(f"{typed} {more}"), monkeypatch) == 0


@pytest.mark.parametrize(
    ("typed", "words", "cured"),
    [
        (
            "evaluate mask.tif mask.tif --out s.json --draws 0 --zones mask.tif", "=debris-covered",
            "evaluate mask.tif mask.tif --out s.json --draws 0 --zones mask.tif=debris-covered",
        ),
        (
            "refine mask.tif --out r.tif --preset regional --min-area-km2 0.03", "give one of them",
            "refine mask.tif --out r.tif --preset regional",
        ),
        (f"{SHARES} --scale 0.0001 --offset -0.1", "leave --scale and --offset out", SHARES),
        (f"{STACK} scene.tif --scale 2", "or leave them out", f"{STACK} scene.tif"),
        (
            f"{STACK} {S2}_B02_10m.tif --recipe blue --sensor landsat8", "leave --sensor out",
            f"{STACK} {S2}_B02_10m.tif --recipe blue",
        ),
        (
            f"{STACK} {S2}_B02_10m.tif {S2}_B03_10m.tif --band-names green,blue", "in the order of the files",
            f"{STACK} {S2}_B02_10m.tif {S2}_B03_10m.tif --band-names blue,green",
        ),
        (
            "inventory mask.tif --out i.gpkg --layer one", "leave --layer one out",
            "inventory mask.tif --out i.gpkg",
        ),
        (
            "vectorize mask.tif --layers contour --probability percent.tif --out v.gpkg", "`rio calc",
            "vectorize mask.tif --layers contour --probability PROBABILITY.tif --out v.gpkg",
        ),
    ],
)  # fmt: skip
def test_what_a_message_asks_for_instead_is_enough(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    typed: str, words: str, cured: str,
) -> None:  # fmt: skip
    more_scenes()
    assert type_in(shlex.split(typed), monkeypatch) == 1
    said = capsys.readouterr().err
    assert words in said
    if words.startswith("`"):
        line = shlex.split(re.findall("`([^`]*)`", said)[-1])
        assert CliRunner().invoke(main_group, line[1:]).exit_code == 0
    assert type_in(shlex.split(cured), monkeypatch) == 0


@pytest.mark.parametrize(
    ("typed", "hint", "more"),
    [
        ("inventory outlines.gpkg --out i.gpkg", "give --buffer-m", "--buffer-m 10"),
        ("inventory known.gpkg --dem dem.tif --out i.gpkg", "give --divides terrain", "--divides terrain"),
        ("refine mask.tif --dem dem.tif --out r.tif", "for --max-hole-slope-deg", "--max-hole-slope-deg 30"),
        ("vectorize mask.tif --probability probability.tif --out v.gpkg", "--contour adds", "--contour"),
        (f"{STACK} zeros.tif --recipe blue,nir", "stack again with --nodata 0", "--nodata 0"),
        ("predict model scene.tif --out maps", "--again predicts it again", "--again"),
    ],
)
def test_a_hint_that_is_followed_is_not_given_again(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    typed: str, hint: str, more: str,
) -> None:  # fmt: skip
    more_scenes()
    for expected, line in ((True, typed), (False, f"{typed} {more}")):
        if typed.startswith("predict"):
            assert type_in(shlex.split(typed), monkeypatch) == 0
            capsys.readouterr()
        assert type_in(shlex.split(line), monkeypatch) == 0
        told = capsys.readouterr()
        assert (hint in " ".join(f"{told.out} {told.err}".split())) is expected


@pytest.mark.parametrize("typed", ["run none.yaml", "predict --weights none scene.tif --out maps"])
def test_a_command_that_is_complete_runs_as_it_stands(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    assert type_in(shlex.split(typed), monkeypatch) == 1
    words = shlex.split(capsys.readouterr().err.split("`")[1])
    assert type_in(words[1:], monkeypatch) == 0
    told = capsys.readouterr().out
    if words[1] == "template":
        Path("none.yaml").write_text(told)
        assert load_config(Path("none.yaml")).models
    else:
        assert "zanskar-landsat8" in told


def test_again_replaces_the_map_of_a_namesake(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("2020").mkdir()
    write_scene(Path("2020/scene.tif"), easy_scene(blobs(96, 96, 5)), ["red", "green", "blue", "nir"])
    assert type_in(["predict", "model", "scene.tif", "--out", "maps"], monkeypatch) == 0
    typed = ["predict", "model", "2020/scene.tif", "--out", "maps"]
    assert type_in(typed, monkeypatch) == 1
    assert "was not made from 2020/scene.tif; give another --out, or --again to" in capsys.readouterr().err
    assert type_in([*typed[:-1], "maps2"], monkeypatch) == 0
    assert type_in([*typed, "--again"], monkeypatch) == 0
    assert Path("maps/scene_mask.tif").read_bytes() == Path("maps2/scene_mask.tif").read_bytes()


@pytest.mark.parametrize(
    ("nodata", "source", "typed"),
    [
        (1, "mask.tif", "evaluate {} mask.tif --out s.json --draws 0"),
        (None, "no crs", "prepare align {} --like scene.tif --out r.tif"),
    ],
)
def test_a_cloud_optimised_file_is_not_edited_in_place(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    nodata: float | None, source: str, typed: str,
) -> None:  # fmt: skip
    with rasterio.open("mask.tif") as dataset:
        profile, values = dataset.profile | {"nodata": nodata}, dataset.read()
    if source == "no crs":
        profile["crs"] = None
    with rasterio.open("plain.tif", "w", **profile) as dataset:
        dataset.write(values)
    rasterio.shutil.copy("plain.tif", "my cog.tif", driver="COG")
    before = Path("my cog.tif").read_bytes()
    assert type_in(shlex.split(typed.format("'my cog.tif'")), monkeypatch) == 1
    said = capsys.readouterr().err
    cure = re.search("`([^`]*rio edit-info[^`]*)`", said)
    assert cure, said
    for line in cure[1].split(" && "):
        program, *words = shlex.split(line)
        if program == "rio":
            assert CliRunner().invoke(main_group, words).exit_code == 0
        else:
            assert type_in(words, monkeypatch) == 0
    assert type_in(shlex.split(typed.format("'EDITED_my cog.tif'")), monkeypatch) == 0
    assert Path("my cog.tif").read_bytes() == before


def test_a_crs_that_is_no_place_on_earth_is_replaced_by_the_printed_command(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with rasterio.open("mask.tif") as dataset:
        profile, values = dataset.profile | {"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, dataset.read()
    with rasterio.open("site.tif", "w", **profile) as dataset:
        dataset.write(values)
    assert type_in(["refine", "site.tif", "--out", "r.tif"], monkeypatch) == 1
    cure = re.search("`(rio edit-info --crs [^`]*)`", said := capsys.readouterr().err)
    assert cure, said
    words = shlex.split(cure[1].replace("FILE", "site.tif"))
    assert CliRunner().invoke(main_group, words[1:]).exit_code == 0
    assert type_in(["refine", "site.tif", "--out", "r.tif"], monkeypatch) == 0
