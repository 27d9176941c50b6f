"""What we use of other packages without their promise, and the version that it is known to work with.

When one of these fails after an update, the package has renamed something: see what is lost, look how the new
version does it, change the one file that is named, and write the new version here.
"""

import ast
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numba
import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from rasterio.errors import RasterioError

import glacierseg
from glacierseg.predict import fused
from glacierseg.raster.open import CPLE_BaseError  # type: ignore[attr-defined]

ROOT = Path(glacierseg.__file__).parent


def double(value: int) -> int:
    return 2 * value


def numba_cache() -> bool:
    cache = numba.njit(cache=True)(double)._cache  # type: ignore[attr-defined]
    return callable(cache.load_overload) and callable(cache.save_overload)


def onednn_calls() -> bool:
    names = [fused._CONV, fused._CONV_INTO, fused._PACK]
    names += [fused._TRANSPOSED, fused._PACK_TRANSPOSED, "_is_mkldnn_bf16_supported"]
    return all(hasattr(torch.ops.mkldnn, name) for name in names)


def lightning_state() -> bool:
    paths = {"best_model_path", "kth_best_model_path", "last_model_path", "best_k_models"}
    return paths | {"dirpath"} <= set(ModelCheckpoint("folder", "best", "val_iou").state_dict())


def gdal_error() -> bool:
    return issubclass(CPLE_BaseError, Exception) and CPLE_BaseError is not RasterioError


@pytest.mark.parametrize(
    ("package", "known", "file", "is_there", "lost"),
    [
        ("numba", "0.68.1", "refine/engine/jit.py", numba_cache, "a full disk stops refinement"),
        ("torch", "2.13.0", "predict/fused.py", onednn_calls, "prediction on a CPU is slower"),
        ("pytorch-lightning", "2.6.6", "training/states.py", lightning_state, "moved runs forget the best"),
        ("rasterio", "1.4.4", "raster/open.py", gdal_error, "some damaged files end in a traceback"),
    ],
)  # fmt: skip
def test_what_packages_do_not_promise_is_still_there(
    package: str, known: str, file: str, is_there: Callable[[], bool], lost: str
) -> None:
    assert (ROOT / file).is_file()
    assert is_there(), (
        f"{package} {version(package)} has renamed what {file} uses (known with {known}); without it {lost}"
    )


def test_nothing_else_of_other_packages_is_private() -> None:
    found: set[tuple[str, str | None]] = set()
    for path in ROOT.rglob("*.py"):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "._" in f".{node.module}":
                found.add((name, node.module))
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                if ast.unparse(node.value) not in {"self", "cls"} and not node.attr.endswith("__"):
                    found.add((name, node.attr))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr"}:
                asked = node.args[1]
                if isinstance(asked, ast.Constant) and str(asked.value).startswith("_"):
                    found.add((name, str(asked.value)))
    assert {each for each in found if each[1] != "glacierseg._version"} == {
        ("raster/open.py", "rasterio._err"),
        ("refine/engine/jit.py", "_cache"),
        ("models/device.py", "_is_mkldnn_bf16_supported"),
    }
