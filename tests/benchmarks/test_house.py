import ast
from pathlib import Path

from benchmarks.house import HERE, arguments_of, commands, counts, docstring_lines


def test_arguments_are_those_that_a_caller_gives() -> None:
    (method,) = ast.parse("def f(self, a, /, b, *rest, c=1, **more): ...").body
    assert isinstance(method, ast.FunctionDef)
    assert arguments_of(method) == 3


def test_docstrings_are_counted_by_lines() -> None:
    assert docstring_lines(ast.parse('"""One."""\nx = 1\n"""Two\nthree."""\ny = "no"')) == 3


def test_a_tree_is_counted(tmp_path: Path) -> None:
    package = tmp_path / "src/glacierseg/room"
    package.mkdir(parents=True)
    long = ", ".join(f"a{n}" for n in range(9))
    (package / "a.py").write_text(f'"""A."""\n\ndef f({long}):\n    # why\n    return a0\n')
    (package.parent / "__init__.py").write_text("")
    found = counts(tmp_path / "src")
    assert found["files"] == 2
    assert found["files at ground level"] == 1
    assert found["functions of more than 8 arguments"] == 1
    assert found["most arguments"] == 9
    assert found["lines of code"] == 2
    assert found["comments for 100 lines of code"] == 50.0


def test_the_commands_are_counted() -> None:
    found = commands(HERE / "src")
    assert isinstance(found["commands"], int)
    assert found["commands"] > 20
