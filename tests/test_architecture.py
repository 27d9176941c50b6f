"""The plan of the house: imports never point back."""

import ast
from pathlib import Path

import pytest

import glacierseg

ROOT = Path(glacierseg.__file__).parent
# A module may import from its own part and from the parts before it.
ORDER = [
    "_version", "errors", "jit", "student", "models.registry", "config", "raster", "synthetic", "tiling",
    "dataset", "models", "training", "weights", "predict", "bands", "threshold", "refine", "vectors",
    "evaluate", "report", "console", "info", "experiment", "demo", "cli_compare", "cli_data", "cli_weights",
    "cli_export", "cli_masks", "cli_outlines", "cli_predict", "cli_report", "cli_scores", "cli", "__main__",
]  # fmt: skip


def part_of(module: str) -> str:
    name = module.removeprefix("glacierseg").lstrip(".")
    if name in ORDER:
        return name
    return name.split(".")[0]


def imported(tree: ast.Module) -> set[str]:
    """Every glacierseg module that a file imports, at whatever depth; type checking imports aside."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("glacierseg"):
            found.add(node.module)
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
    with pytest.raises(AttributeError, match="no attribute 'prediction'"):
        glacierseg.prediction  # noqa: B018
