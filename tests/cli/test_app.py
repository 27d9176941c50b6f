import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin
from shapely.geometry import box

from glacierseg import cli
from glacierseg.raster.write import to_cog
from tests.helpers import blobs, easy_scene, write_mask, write_scene

SIZE = 96


def glacierseg(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the command in this process and returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["glacierseg", *arguments])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def basin(tmp_path: Path) -> Path:
    """A folder with a scene, its mask and a configuration that trains a tiny network on it."""
    mask = blobs(SIZE, SIZE, 4)
    write_scene(tmp_path / "scene.tif", easy_scene(mask), ["red", "green", "blue", "nir"])
    write_mask(tmp_path / "mask.tif", mask)
    settings = {
        "name": "tiny",
        "regions": [{"name": "r", "scene": "scene.tif", "truth": "mask.tif", "roles": ["train", "validate"]}],
        "models": [{"name": "m_landsnet", "width": 0.125, "patch_px": 32, "epochs": 1}],
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_warnings_of_ours_are_one_line_each_time() -> None:
    script = """
import sys, warnings
from glacierseg import GlaciersegWarning, cli

@cli.app.command()
def warn():
    for kind in (GlaciersegWarning, UserWarning):
        for _ in range(2):
            warnings.warn("look out", kind, stacklevel=1)

sys.argv = ["glacierseg", "warn"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines[:2] == ["warning: look out"] * 2
    assert "UserWarning: look out" in lines[2]  # newer Pythons show the code below it


@pytest.mark.parametrize("command", [["run"], ["train", "--model", "m_landsnet"]], ids=" ".join)
@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ([], "runs/tiny"),
        (["--fold", "2"], "runs/tiny/fold2"),
        (["--out", "x"], "x"),
        (["--out", "x", "--fold", "2"], "x/fold2"),
    ],
)
def test_a_fold_has_a_folder_of_its_own(
    basin: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], options: list[str], folder: str
) -> None:
    edit(basin, lambda settings: settings.update(split={"method": "kfold"}))
    asked: list[Path] = []
    monkeypatch.setattr("glacierseg.experiment.run_experiment", lambda _, out, **__: asked.append(out))
    monkeypatch.setattr("glacierseg.experiment.train_one", lambda *given, **__: asked.append(given[3]))
    assert glacierseg([command[0], str(basin / "run.yaml"), *command[1:], *options], monkeypatch) == 0
    assert asked == [Path(folder)]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    settings = yaml.safe_load((folder / "run.yaml").read_text())
    change(settings)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))


def rewrite(name: str, **profile: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with rasterio.open(folder / name) as dataset:
            values, old, bands = dataset.read(), dataset.profile, dataset.descriptions
        new = {**old, **profile}
        values = values[:, : new["height"], : new["width"]]
        with rasterio.open(folder / name, "w", **new) as dataset:
            dataset.write(values)
            dataset.descriptions = bands

    return change


def fill(name: str, value: int, **profile: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rewrite(name, **profile)(folder)
        with rasterio.open(folder / name, "r+") as dataset:
            dataset.write(np.full((dataset.count, *dataset.shape), value, dataset.dtypes[0]))

    return change


def truncate(folder: Path) -> None:
    """Cuts off pixels and keeps the header, which stands first in a cloud-optimised file."""
    to_cog(folder / "scene.tif", folder / "whole.tif", resampling="nearest")
    whole = (folder / "whole.tif").read_bytes()
    (folder / "scene.tif").write_bytes(whole[: len(whole) // 2])


def band_twice(folder: Path) -> None:
    with rasterio.open(folder / "scene.tif", "r+") as dataset:
        dataset.descriptions = ("red", "green", "red", "nir")


def outlines_elsewhere(folder: Path) -> None:
    far = gpd.GeoDataFrame(geometry=[box(10.0, 46.0, 10.1, 46.1)], crs="EPSG:4326")
    far.to_file(folder / "far.gpkg")
    edit(folder, lambda s: s["regions"][0].update(truth="far.gpkg"))


BAD_INPUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda f: (f / "scene.tif").unlink(), r"scene\.tif: no such file"),
    "missing files": (
        lambda f: list(map(Path.unlink, (f / "scene.tif", f / "mask.tif"))),
        r"2 files are missing: \S*scene\.tif \(region r\), \S*mask\.tif \(region r\); check",
    ),
    "not a raster": (lambda f: (f / "scene.tif").write_text("hello"), r"scene\.tif: is not a raster"),
    "no CRS": (rewrite("scene.tif", crs=None), r"scene\.tif: has no CRS"),
    "mask on another grid": (
        rewrite("mask.tif", transform=from_origin(700_300, 3_600_000, 10, 10)),
        r"mask\.tif: mask lies on another grid.*glacierseg prepare align",
    ),
    "wrong band count": (
        lambda f: edit(f, lambda s: s["regions"][0].update(bands=["a", "b"])),
        r"scene\.tif: has 4 bands, but 2 names",
    ),
    "band named twice": (band_twice, r"scene\.tif: band 'red' is named twice"),
    "empty mask": (fill("mask.tif", 0), r"mask\.tif: holds no glacier pixel"),
    "all-nodata scene": (fill("scene.tif", 0, nodata=0), r"scene\.tif: no pixel has both data"),
    "outlines that miss the scene": (outlines_elsewhere, r"far\.gpkg: no outline meets the scene"),
    "header cut off": (
        lambda f: (f / "scene.tif").write_bytes((f / "scene.tif").read_bytes()[:9000]),
        r"scene\.tif: .*cut short",
    ),
    "truncated TIFF": (truncate, r"scene\.tif: .*truncated or damaged"),
    "unknown key": (lambda f: edit(f, lambda s: s.update(trainig={})), r"unknown key 'trainig' \(did you"),
    "unknown model": (lambda f: edit(f, lambda s: s.update(models=["unet"])), r"no network is called 'unet'"),
    "region without role": (
        lambda f: edit(f, lambda s: s["regions"][0].pop("roles")), r"regions\[r\]\.roles is missing",
    ),
    "mask with other values": (fill("mask.tif", 7), r"mask\.tif: mask holds 7"),
    "unknown band": (
        lambda f: edit(f, lambda s: s.update(bands={"use": ["red", "nri"]})),
        r"no band 'nri' \(did you mean 'nir'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_gives_one_clear_line_and_exit_status_1(
    kind: str, basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    damage, message = BAD_INPUT[kind]
    damage(basin)
    status = glacierseg(["run", str(basin / "run.yaml"), "--out", str(basin / "out")], monkeypatch)
    error = capfd.readouterr().err
    assert status == 1
    assert re.search(message, error), error
    assert len(error.strip().splitlines()) == 1, error
    assert "Traceback" not in error


def test_unwritable_output_folder(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (basin / "file").write_text("in the way")
    status = glacierseg(["run", str(basin / "run.yaml"), "--out", str(basin / "file" / "out")], monkeypatch)
    error = capfd.readouterr().err
    assert status == 1
    assert "cannot write there" in error
    assert len(error.strip().splitlines()) == 1


def test_a_configuration_is_not_taken_for_that_of_a_run(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = (basin / "run.yaml").rename(basin / "config.yaml")
    before = config.read_bytes()
    assert glacierseg(["run", str(config), "--out", str(basin)], monkeypatch) == 1
    assert re.search("is not a run folder, .*; give another --out\n$", capfd.readouterr().err)
    assert config.read_bytes() == before


def test_wrong_usage_is_exit_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert glacierseg(["run"], monkeypatch) == 2
    assert glacierseg(["demo", "--data", "alps"], monkeypatch) == 2


def test_interruption_says_how_to_go_on(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glacierseg.experiment.run_experiment", interrupt)
    assert glacierseg(["run", str(basin / "run.yaml")], monkeypatch) == 130
    assert "run the same command again" in capfd.readouterr().err


def test_full_disk_is_one_line(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device", "/data/out.tif")

    monkeypatch.setattr("glacierseg.experiment.run_experiment", full)
    assert glacierseg(["run", str(basin / "run.yaml")], monkeypatch) == 1
    assert capfd.readouterr().err == "glacierseg: /data/out.tif: No space left on device\n"


def test_template_is_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from glacierseg.settings import load_config

    assert glacierseg(["template"], monkeypatch) == 0
    (tmp_path / "t.yaml").write_text(capfd.readouterr().out)
    assert load_config(tmp_path / "t.yaml").name == "my-basin"


def test_info_names_versions_device_and_precision(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert glacierseg(["info"], monkeypatch) == 0
    shown = capfd.readouterr().out
    for word in ("glacierseg", "torch", "GPU", "precision", "engines", "data folder", "GiB"):
        assert word in shown


def test_check_exit_status_tells_whether_usable(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(basin / "scene.tif"), "--truth", str(basin / "mask.tif"), "--patch-px", "32"]
    assert glacierseg(command, monkeypatch) == 0
    capfd.readouterr()
    fill("mask.tif", 9)(basin)
    assert glacierseg([*command, "--json"], monkeypatch) == 1
    results = json.loads(capfd.readouterr().out)
    assert "failed" in {result["status"] for result in results}


def test_prepare_commands_make_what_numpy_makes(basin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, out = str(basin / "scene.tif"), basin / "out.tif"
    assert glacierseg(["prepare", "select", scene, "--bands", "nir,1", "--out", str(out)], monkeypatch) == 0
    with rasterio.open(out) as made, rasterio.open(scene) as given:
        assert made.descriptions == ("nir", "red")
        np.testing.assert_array_equal(made.read(), given.read([4, 1]))
    assert glacierseg(["prepare", "align", scene, "--like", scene, "--out", str(out)], monkeypatch) == 0
    with rasterio.open(out) as made, rasterio.open(scene) as given:
        np.testing.assert_array_equal(made.read(), given.read())
    assert glacierseg(["prepare", "stack", scene, "--out", str(out)], monkeypatch) == 0
    with rasterio.open(out) as made, rasterio.open(scene) as given:
        np.testing.assert_array_equal(made.read(), given.read())
    ranges = basin / "ranges.json"
    command = ["prepare", "normalize", scene, "--out", str(out), "--ranges", str(ranges)]
    assert glacierseg(command, monkeypatch) == 0
    first = rasterio.open(out).read()
    assert ranges.exists()
    assert glacierseg(command, monkeypatch) == 0
    np.testing.assert_array_equal(first, rasterio.open(out).read())


def test_vectorize_takes_layers_and_says_what_it_drew(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mask, outlines = basin / "mask.tif", basin / "layers.gpkg"
    command = ["vectorize", str(mask), "--out", str(outlines), "--layers", "refined,raw"]
    assert glacierseg([*command, "--refined", str(mask), "--min-area-km2", "0.01"], monkeypatch) == 0
    said = capfd.readouterr().out
    assert "refined: " in said
    assert "raw: " in said
    assert "smooth" not in said
    assert glacierseg(["vectorize", str(mask), "--out", str(outlines), "--contour"], monkeypatch) == 1
    assert "give --probability FILE" in capfd.readouterr().err


def test_mask_commands_follow_one_another(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mask, outlines = basin / "mask.tif", basin / "outlines.gpkg"
    assert glacierseg(["vectorize", str(mask), "--out", str(outlines)], monkeypatch) == 0
    burned = basin / "burned.tif"
    command = [
        "prepare",
        "rasterize",
        str(outlines),
        "--like",
        str(mask),
        "--out",
        str(burned),
        "--layer",
        "raw",
    ]
    assert glacierseg(command, monkeypatch) == 0
    np.testing.assert_array_equal(rasterio.open(burned).read(1), rasterio.open(mask).read(1))
    refined = basin / "refined.tif"
    assert glacierseg(["refine", str(mask), "--out", str(refined), "--min-area-km2", "0"], monkeypatch) == 0
    scores = basin / "scores.json"
    command = [
        "evaluate",
        str(refined),
        str(mask),
        "--out",
        str(scores),
        "--buffer-m",
        "10",
        "--buffer-m",
        "20",
    ]
    assert glacierseg(command, monkeypatch) == 0
    record = json.loads(scores.read_text())
    assert record["iou"] > 0.9
    assert record["iou_buffer_20m"] >= record["iou"]
    assert (
        glacierseg(
            [
                "tune",
                str(mask),
                "--truth",
                str(outlines),
                "--truth-layer",
                "raw",
                "--out",
                str(basin / "t.json"),
            ],
            monkeypatch,
        )
        == 0
    )
    assert json.loads((basin / "t.json").read_text())["best_iou"] == 1.0


def test_train_predict_and_bands(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = basin / "out"
    command = [
        "train",
        str(basin / "run.yaml"),
        "--model",
        "m_landsnet",
        "--bands",
        "red,nir",
        "--out",
        str(out),
    ]
    assert glacierseg(command, monkeypatch) == 0
    model = Path(capfd.readouterr().out.strip().splitlines()[-1].removeprefix("model folder: "))
    assert json.loads((model / "model.json").read_text())["bands"] == ["red", "nir"]
    assert glacierseg(["predict", str(model), str(basin / "scene.tif"), "--out", str(out)], monkeypatch) == 0
    with rasterio.open(out / "scene_probability.tif") as dataset:
        assert dataset.shape == (SIZE, SIZE)
    table = out / "bands.csv"
    command = [
        "bands",
        str(model),
        str(basin / "scene.tif"),
        "--truth",
        str(basin / "mask.tif"),
        "--out",
        str(table),
    ]
    assert glacierseg(command, monkeypatch) == 0
    assert table.read_text().startswith("rank,band,importance,spread,")
    assert len(table.read_text().splitlines()) == 3
    two = [*command[:3], str(basin / "scene.tif"), *command[3:], "--truth", str(basin / "mask.tif")]
    capfd.readouterr()
    plot = out / "bands.svg"
    assert glacierseg([*two, "--check", "--top", "1", "--plot", str(plot)], monkeypatch) == 0
    told = capfd.readouterr().out
    assert "best bands by gradient: " in told
    assert "gradient and permutation agree on " in told
    assert "Permutation</text>" in plot.read_text()  # words stay words, as in every other picture
    rows = pd.read_csv(table)
    assert {"permutation", "permutation_standard_error"} <= set(rows)
    # The same scene twice: two regions that do not differ.
    assert rows["region_spread"].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert glacierseg([*two[:-2]], monkeypatch) == 1
    assert "(got 2 scenes and 1 truths)" in capfd.readouterr().err
    assert glacierseg([*command, "--band-names", "nir,green,blue,near"], monkeypatch) == 1
    assert "lacks red" in capfd.readouterr().err


@pytest.mark.usefixtures("zoo")
def test_a_network_of_the_zoo_goes_all_the_way_to_the_report(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "smp:Unet/resnet18"
    edit(basin, lambda s: s["models"][0].update(name=name, width=1.0, batch_size=4))
    edit(basin, lambda s: s.update(bands={"top": 2}))
    command = [str(basin / "run.yaml"), "--out", str(basin / "out")]
    assert glacierseg(["train", *command, "--model", name], monkeypatch) == 0
    folder = basin / "out/smp-unet-resnet18/all"
    assert capfd.readouterr().out.strip().endswith(f"model folder: {folder}")
    assert json.loads((folder / "model.json").read_text())["architecture"] == name
    assert glacierseg(["run", *command], monkeypatch) == 0
    assert "trained already" in capfd.readouterr().out
    scores = pd.read_csv(basin / "out/metrics.csv")
    assert set(scores["model"]) == {"threshold", name}
    assert set(scores.loc[scores["model"] == name, "bands"]) == {"all", "top6"}
    assert (folder.parent / "top6/r_refined.tif").exists()
    page = (basin / "out/report.html").read_text()
    assert f'<th scope="row">{name}</th>' in page
    assert not [path for path in (basin / "out").rglob("*") if ":" in path.name]


def test_builds_of_torch_that_do_not_fit_are_one_line(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("glacierseg.experiment.run_experiment", fail)
    assert glacierseg(["run", str(basin / "run.yaml")], monkeypatch) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(
        "glacierseg: torch and torchvision must be of one build, and these are of two; remove"
    )


def test_export_writes_the_file_and_never_hides_what_int8_costs(
    basin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from glacierseg.models.card import ModelCard, save_model

    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "nir"), band_mean=(100, 100),
        band_std=(30, 30), patch_px=32,
    )  # fmt: skip
    model, scene = basin / "model", str(basin / "scene.tif")
    save_model(model, card.build(), card)

    def export(*options: str) -> tuple[int, str, str]:
        status = glacierseg(["export", str(model), *options], monkeypatch)
        return status, *capfd.readouterr()

    assert export("--to", "onnx") == (0, f"{model / 'model.onnx'}\n", "")
    assert (model / "model.onnx").is_file()
    out = str(basin / "net.xml")
    assert export("--to", "openvino", "--out", out, "--window-px", "48") == (0, f"{out}\n", "")
    status, shown, _ = export("--to", "openvino", "--int8-with", scene)
    assert status == 0
    assert shown.startswith(f"{model / 'model_int8.xml'}\n")
    assert "change class" in shown
    assert "UNKNOWN" in shown
    status, shown, error = export(
        "--to", "openvino", "--int8-with", scene, "--truth", str(basin / "mask.tif")
    )
    assert (status, error) == (0, "")
    assert re.search(r"float32 +0\.\d{4}\nint8 +0\.\d{4}\ndifference +[+-]0\.\d{4}", shown)
    for wrong, message in (
        (("--to", "onnx", "--int8-with", scene), "int8 is for OpenVINO"),
        (("--to", "onnx", "--truth", scene), "give --int8-with SCENE too"),
        (("--to", "onnx", "--out", "net.pt"), r"net\.pt: an export to onnx ends in \.onnx"),
    ):
        status, _, error = export(*wrong)
        assert status == 1
        assert re.fullmatch(f"glacierseg: .*{message}.*\n", error)
    assert export("--to", "tflite")[0] == 2


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    heavy = ["torch", "pytorch_lightning", "matplotlib", "geopandas", "rasterio", "cv2"]
    probe = f"import sys, glacierseg, glacierseg.cli; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
    shown = subprocess.run(
        [sys.executable, "-m", "glacierseg", "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    commands = (
        "demo run template info check prepare export train predict bands refine tune vectorize evaluate "
        "report figures"
    )
    for command in commands.split():
        assert command in shown.stdout
