"""The plan of the house: imports never point back."""

import ast
import builtins
import re
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glacierseg
from glacierseg.change.files import change_between_files
from glacierseg.predict.calibration import store_calibration
from glacierseg.runs.layout import File, ModelFolder, RunFolder
from tests.catalogues.shelf import Shelf
from tests.helpers import blobs, easy_scene, write_mask, write_scene
from tests.products.shelves import make_landsat, write_image
from tests.weights.shelves import calibration, model_folder

ROOT = Path(glacierseg.__file__).parent
# A module may import from its own part and from the parts before it.
ORDER = [
    "_version", "errors", "choices", "log", "runs.layout", "models.registry", "settings", "raster",
    "products", "catalogues", "models", "data", "training", "weights", "predict", "refine", "vectors",
    "inventory", "evaluate", "change", "bands", "synthetic", "review", "runs", "report", "mapping",
    "experiment", "correct", "cli", "__main__",
]  # fmt: skip


def part_of(module: str) -> str:
    name = module.removeprefix("glacierseg").lstrip(".")
    if name in ORDER:
        return name
    return name.split(".")[0]


def imported(tree: ast.Module) -> set[str]:
    """Every glacierseg module that a file imports, at whatever depth; type checking imports aside."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("glacierseg"):
            whole = node.module == "glacierseg"
            found |= {f"glacierseg.{alias.name}" for alias in node.names} if whole else {node.module or ""}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("glacierseg")}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_only_to_earlier_parts(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    own = part_of(".".join(part for part in parts if part != "__init__"))
    for module in imported(ast.parse(path.read_text())):
        other = part_of(module)
        assert other in ORDER, f"{path.name} imports {module}, which has no place in the plan"
        assert ORDER.index(other) <= ORDER.index(own), f"{own} imports {module}"


def test_files_stay_small_enough_to_hold_in_mind() -> None:
    long = {
        str(path.relative_to(ROOT)): n for path in FILES if (n := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_every_public_name_is_there() -> None:
    for name in glacierseg.__all__:
        assert getattr(glacierseg, name) is not None
    assert set(glacierseg.__all__) == set(dir(glacierseg))
    # A module may import a function of that name for itself.
    assert glacierseg.measure_change is change_between_files
    for name in set(glacierseg.__all__) - {"__version__", "measure_change"}:
        assert getattr(glacierseg, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        glacierseg.prediction  # noqa: B018


HEAVY = {
    "contourpy", "cv2", "dask", "distributed", "geopandas", "jinja2", "matplotlib", "numba", "onnx",
    "onnxruntime", "openvino", "pandas", "PIL", "pooch", "pyogrio", "pyproj", "pytorch_lightning",
    "rasterio", "shapely", "torch",
}  # fmt: skip
RASTER = {"rasterio", "pyproj"}
TABLES = {"geopandas", "pandas", "pyogrio", "shapely"}
# What each command may import of them, each a matter of seconds or hundreds of megabytes. pydantic is none
# of them: options of commands are made of settings, which takes it a tenth of a second.
MAY_IMPORT = {
    "template": set(),
    "models": RASTER,
    "info": RASTER | {"torch"},
    "check scene.tif --truth mask.tif": RASTER,
    "prepare align mask.tif --like scene.tif --out out.tif": RASTER,
    "prepare normalize scene.tif --ranges ranges.json --out out.tif": RASTER,
    "prepare select scene.tif --bands b1 --out out.tif": RASTER,
    "prepare stack scene.tif --out out.tif": RASTER,
    "prepare scene product --recipe red,slope --dem product/dem.tif --out out.tif": RASTER,
    "fetch --bbox 86.78,27.99,86.8,28.01 --date 2024-09-30 --catalogue s --max-snow 1 --recipe red --out f": (
        RASTER | {"geopandas", "pooch", "shapely"}
    ),
    "predict model scene.tif --out maps": RASTER | {"torch"},
    "map model scene.tif --out mapped": RASTER
    | TABLES
    | {"torch", "numba", "cv2", "contourpy", "jinja2", "matplotlib", "PIL"},
    "correct model scene.tif --mask mask.tif --suggest 1 --out corrected": RASTER
    | TABLES
    | {"torch", "numba", "cv2", "contourpy"},
    "refine mask.tif --out out.tif": RASTER | {"numba"},
    "tune mask.tif --truth mask.tif --iterations 0 --out out.json": RASTER | {"numba"},
    "vectorize mask.tif --out out.gpkg": RASTER | TABLES | {"contourpy", "numba"},
    "prepare rasterize out.gpkg --like scene.tif --out out.tif": RASTER | TABLES,
    "inventory mask.tif --out inventory.gpkg": RASTER | TABLES | {"contourpy", "cv2", "numba"},
    "evaluate mask.tif mask.tif --draws 0 --out out.json": RASTER | {"cv2", "numba", "shapely"},
    "compare mask.tif mask.tif --truth mask.tif --out out.json": RASTER | {"cv2", "numba", "shapely"},
    "bands model scene.tif --truth mask.tif --out out.csv": RASTER | {"torch"},
}


@cache
def loaded_with(module: str) -> frozenset[str]:
    """What the import of a module of ours executes directly: import statements outside of functions."""
    path = ROOT.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    waiting: list[ast.AST] = list(ast.parse(path.read_text()).body) if path.exists() else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif not isinstance(node, ast.FunctionDef) and "TYPE_CHECKING" not in ast.dump(node):
            waiting += list(ast.iter_child_nodes(node))
    return frozenset(found)


def packages_behind(modules: Iterable[str]) -> set[str]:
    """The heavy packages that these modules and all they load would bring into a new process."""
    seen: set[str] = set()
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            parent = module.rpartition(".")[0]
            waiting |= ({parent} if parent else set()) | (
                loaded_with(module) if module.startswith("glacierseg") else set()
            )
    return HEAVY & {module.partition(".")[0] for module in seen}


def test_each_command_imports_only_what_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    glacierseg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    mask = blobs(64, 64, 4)
    write_scene(tmp_path / "scene.tif", easy_scene(mask), ["b1", "b2", "b3", "b4"])
    write_mask(tmp_path / "mask.tif", mask)
    make_landsat(tmp_path).rename(tmp_path / "product")
    shelf = Shelf(tmp_path / "s")
    shelf.add(side_m=1800)
    shelf.catalogue()
    write_image(tmp_path / "product" / "dem.tif", np.full((12, 12), 5000, np.float32), 30)
    # With a calibration, so that `predict` also tells the area.
    store_calibration(model_folder(tmp_path / "model", bands=("b1", "b2", "b3", "b4")), calibration())
    monkeypatch.chdir(tmp_path)
    asked: set[str] = set()
    real = builtins.__import__

    def listening(name: str, *where: Any, **more: Any) -> object:
        # Import statements in functions run each time, whether or not the module is there already.
        if where and where[0] and str(where[0].get("__name__")).startswith("glacierseg"):
            asked.add(name)
        return real(name, *where, **more)

    monkeypatch.setattr(builtins, "__import__", listening)
    for command, allowed in MAY_IMPORT.items():
        asked.clear()
        done = glacierseg(*command.split())
        assert done.returncode == 0, done.stderr
        found = packages_behind({"glacierseg.cli", *asked})
        assert found <= allowed, f"`{command}` imports {', '.join(sorted(found - allowed))}"


# Who opens files, and who writes them: everybody else asks these, and so gets what they know of the traps.
DOORS = {
    r"rasterio\.open\(": {"raster/open.py", "raster/write.py"},
    r"\b(gpd|geopandas)\.read_|\bpyogrio\.(read|list|open|detect)_": {"raster/outlines/files.py"},
    r"\bpyogrio\.write|\.to_file\(|\.to_parquet\(": {"vectors/layers.py"},
    r"\bWarpedVRT\(": {"raster/warp.py"},
    r"\breproject\(": {"raster/bounds.py"},
}


@pytest.mark.parametrize("call", DOORS)
def test_each_kind_of_file_has_one_door(call: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in FILES if re.search(call, path.read_text())}
    assert found == DOORS[call]


def test_files_of_a_run_are_named_in_one_place() -> None:
    kinds = (RunFolder, ModelFolder)
    named = {file.name for kind in kinds for file in vars(kind).values() if isinstance(file, File)}
    names = {name for name in named if "." in name.strip(".")}
    assert len(names) > 15
    found = {
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in FILES
        if path != ROOT / "runs" / "layout.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert not found


def test_no_other_way_into_gdal_is_imported() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"osgeo", "fiona", "gdal", "netCDF4", "h5py", "xarray"} & {
                m.split(".")[0] for m in modules
            }
