"""Counts what a newcomer has to read: files, lines, long signatures, and the files on the way of a command.

python benchmarks/house.py                  # the source tree as it is
python benchmarks/house.py --src OTHER/src  # another checkout, to compare
python benchmarks/house.py --trace          # also run `predict` and `run` on a tiny scene (a minute)
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
MOST_ARGUMENTS = 8


def counts(src: Path) -> dict[str, object]:
    """What stands in a source tree, without running it."""
    package = src / "glacierseg"
    files = sorted(package.rglob("*.py"))
    text = {path: path.read_text(encoding="utf-8") for path in files}
    trees = {path: ast.parse(body) for path, body in text.items()}
    lines = [line.strip() for body in text.values() for line in body.splitlines()]
    functions = [
        node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    arguments = [arguments_of(function) for function in functions]
    docs = sum(docstring_lines(tree) for tree in trees.values())
    code = sum(bool(line) and not line.startswith("#") for line in lines) - docs
    tests = sorted((src.parent / "tests").rglob("*.py"))
    return {
        "files": len(files),
        "files at ground level": sum(path.parent == package for path in files),
        "lines": len(lines),
        "lines of code": code,
        "lines of docstrings": docs,
        "comments for 100 lines of code": round(100 * sum(map(is_comment, lines)) / code, 1),
        "functions": len(functions),
        "median lines of a function": sorted((f.end_lineno or f.lineno) - f.lineno + 1 for f in functions)[
            len(functions) // 2
        ],
        f"functions of more than {MOST_ARGUMENTS} arguments": sum(n > MOST_ARGUMENTS for n in arguments),
        "most arguments": max(arguments),
        "suppressed import warnings": sum("noqa: PLC0415" in line for line in lines),
        "`makes no sense`": sum("makes no sense" in line for line in lines),
        "lines of tests": sum(len(path.read_text(encoding="utf-8").splitlines()) for path in tests),
    }


def is_comment(line: str) -> bool:
    """Whether a line says something to people, not to a linter alone."""
    return "# " in line and not any(f"# {mark}" in line for mark in ("noqa", "type: ", "fmt: "))


def arguments_of(function: ast.FunctionDef) -> int:
    """Arguments that a caller may give."""
    names = [
        each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    ]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def docstring_lines(tree: ast.AST) -> int:
    """Lines of docstrings and of the sentences below fields."""
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def commands(src: Path) -> dict[str, object]:
    """What the command line offers, and how long the help of `predict` is."""
    probe = (
        "import json, typer.main; from glacierseg.cli import app; group = typer.main.get_command(app)\n"
        "def leaves(c):\n"
        "    return [x for s in c.commands.values() for x in leaves(s)] if hasattr(c, 'commands') else [c]\n"
        "all_ = leaves(group)\n"
        "print(json.dumps([len(all_), sum(len(c.params) for c in all_), max(len(c.params) for c in all_)]))"
    )
    found = json.loads(_python(src, "-c", probe).stdout)
    text = _python(src, "-m", "glacierseg", "predict", "--help").stdout
    return {
        "commands": found[0],
        "arguments and options of all": found[1],
        "most of one command": found[2],
        "lines of `predict --help`, 100 columns": len(text.strip().splitlines()),
    }


def trace(src: Path) -> dict[str, object]:
    """The files whose functions run in `predict` and in a `run` of one network and one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _python(src, "-c", _SCENE, cwd=root)
        run = _executed(src, root, "run", "run.yaml", "--out", "run")
        predict = _executed(src, root, "predict", "run/m_landsnet/all", "scene.tif", "--out", "maps")
    return {
        "files that `predict` passes through": len({name.split(":")[0] for name in predict}),
        "functions that `predict` passes through": len(predict),
        "files that `run` passes through": len({name.split(":")[0] for name in run}),
        "functions that `run` passes through": len(run),
    }


_SCENE = """
import numpy as np, rasterio
rng = np.random.default_rng(0)
truth = np.zeros((128, 128), "uint8"); truth[30:90, 20:100] = 1
scene = (truth[None] * 800.0 + rng.normal(1000, 200, (4, 128, 128))).astype("float32")
place = {"crs": "EPSG:32643", "transform": rasterio.transform.from_origin(500000, 3600000, 30, 30)}
place |= {"driver": "GTiff", "width": 128, "height": 128}
with rasterio.open("scene.tif", "w", count=4, dtype="float32", **place) as f:
    f.write(scene)
    for number, name in enumerate(["red", "nir", "swir1", "elevation"], 1):
        f.set_band_description(number, name)
with rasterio.open("truth.tif", "w", count=1, dtype="uint8", **place) as f:
    f.write(truth, 1)
open("run.yaml", "w").write('''
name: tiny
regions: [{name: a, scene: scene.tif, truth: truth.tif,
  roles: {train: {x: [0, 0.5]}, validate: {x: [0.5, 0.75]}, test: {x: [0.75, 1]}}}]
models: [{name: m_landsnet, width: 0.125, patch_px: 32}]
bands: {top: 0}
training: {epochs: 1}
''')
"""
# What imports execute is not on the way of a command, so the second of two equal calls counts.
_TRACED = """
import json, sys
seen = set()
def note(frame, event, _):
    if event == "call" and "/glacierseg/" in frame.f_code.co_filename:
        seen.add(frame.f_code.co_filename.split("/glacierseg/")[-1] + ":" + frame.f_code.co_qualname)
from glacierseg.cli import app
target, words = sys.argv[-1], sys.argv[2:-1]
for out, profile in ((words[-1] + "_first", None), (words[-1], note)):
    sys.argv = ["glacierseg", *words[:-1], out]
    sys.setprofile(profile)
    try:
        app()
    except SystemExit as stop:
        assert not stop.code
    finally:
        sys.setprofile(None)
open(target, "w").write(json.dumps(sorted(seen)))
"""


def _executed(src: Path, root: Path, *words: str) -> list[str]:
    target = root / "trace.json"
    _python(src, "-c", _TRACED, "-", *words, str(target), cwd=root)
    found: list[str] = json.loads(target.read_text())
    return found


def _python(src: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(src), "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:80]}: {done.stderr[-2000:]}")
    return done


def rows(found: dict[str, object]) -> Iterator[str]:
    width = max(map(len, found))
    for what, number in found.items():
        yield f"{what:<{width}}  {number}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--src", type=Path, default=HERE / "src", help="folder that holds the package")
    parser.add_argument("--trace", action="store_true", help="also run two commands and count their way")
    options = parser.parse_args()
    src = options.src.resolve()
    found = counts(src) | commands(src)
    if options.trace:
        found |= trace(src)
    print("\n".join(rows(found)))


if __name__ == "__main__":
    main()
