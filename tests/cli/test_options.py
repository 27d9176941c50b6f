from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from glacierseg.cli.options import with_settings
from glacierseg.errors import ConfigError, GlaciersegError, RequestError
from glacierseg.raster.outputs import writes
from glacierseg.settings.base import RARE, Cli, Settings


class SawSettings(Settings):
    """How planks are cut."""

    section: ClassVar[str | None] = "saw"

    length_m: Annotated[float, Field(ge=0, lt=5)] = 2.5
    """Length of a plank."""
    wood: Literal["oak", "pine"] | None = None
    """Kind of wood; as the trunk has it when left out."""
    cuts_m: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Cli("--cut-m")] = (1, 2)
    """Where to cut."""
    span_m: tuple[float, float] = (0.5, 4.5)
    """Shortest and longest plank."""
    marks: tuple[str, ...] = ("a", "b")
    """Marks of the planks."""
    dry: bool = False
    """Dry the planks."""
    plane: bool = True
    """Plane the planks."""
    log: tuple[Path, ...] = ()
    """Logs of the planks."""
    plan: Path | None = None
    """Drawing of the planks."""
    feed_m: Annotated[float, Cli(metavar="METRES")] = 60.0
    """Feed in a minute."""
    drive: Literal["auto", "hand"] = "auto"
    """What moves the saw; auto for what is there."""
    depth_m: float | None = None
    """Depth of a cut; null for all of a plank."""
    oiled: Annotated[bool, Cli("--oiled/--unoiled")] = True
    """Oil on the blade."""
    teeth: Annotated[int, RARE] = 8
    """Teeth of the saw."""


class ShedSettings(Settings):
    """Where planks are cut; a configuration says nothing of it."""

    roof: bool = False
    """Cut below a roof."""


def asked(*words: str) -> tuple[str, SawSettings]:
    seen: list[Any] = []
    app = typer.Typer()

    @app.command()
    @with_settings
    def saw(trunk: Annotated[str, typer.Argument()], settings: SawSettings, shed: ShedSettings) -> None:
        assert shed.roof == ("--roof" in words)
        seen.append((trunk, settings))

    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return seen[0] if seen else ("", result.output)  # type: ignore[return-value]


def test_options_come_from_the_settings() -> None:
    assert asked("t") == ("t", SawSettings())
    words = (
        "t --length-m 1 --wood oak --cut-m 3 --cut-m 4 --span-m 1 2 --marks x,y --marks z --dry "
        "--no-plane --log a,b.txt --unoiled --roof"
    )
    assert asked(*words.split()) == (
        "t",
        SawSettings(
            length_m=1,
            wood="oak",
            cuts_m=(3, 4),
            span_m=(1, 2),
            marks=("x", "y", "z"),
            dry=True,
            plane=False,
            log=(Path("a,b.txt"),),
            oiled=False,
        ),
    )
    assert asked("t", "--marks", "x, y")[1].marks == ("x", "y")


def test_help_has_sentences_and_defaults_and_no_rare_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, text = asked("--help")
    said = " ".join(str(text).split())
    for part in (
        "Length of a plank. Default: 2.5.",
        "Where to cut. Default: 1 2.",
        "Default: a,b.",
        "Plane the planks. Default: yes.",
        "METRES Feed in a minute. Default: 60.",
        "What moves the saw. Default: what is there.",
        "Depth of a cut. Default: all of a plank.",
        "--no-plane",
        "--oiled --unoiled",
    ):
        assert part in said
    for option in ("--teeth", "--no-dry", "--no-oiled", "60.0"):
        assert option not in said
    assert "section `saw`" in said


def test_bounds_are_those_of_the_settings() -> None:
    with pytest.raises(RequestError, match="--length-m must be less than 5"):
        asked("t", "--length-m", "7")
    with pytest.raises(RequestError, match="--cut-m must be greater than or equal to 0"):
        asked("t", "--cut-m", "-1")


def test_a_configuration_sets_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("saw: {teeth: 12, length_m: 4, wood: pine}\nname: x\n")
    _, found = asked("t", "--config", str(file), "--wood", "oak")
    assert found == SawSettings(teeth=12, length_m=4, wood="oak")
    file.write_text("saw: {tooth: 12}")
    with pytest.raises(RequestError, match=r"c.yaml: unknown key 'saw.tooth' \(did you mean 'teeth'"):
        asked("t", "--config", str(file))
    file.write_text("saw: {length_m: 7, cuts_m: [1, -1]}")
    with pytest.raises(RequestError, match=r"c.yaml: saw.length_m must be less.*c.yaml: saw.cuts_m.1 must"):
        asked("t", "--config", str(file))
    file.write_text("saw: 3")
    with pytest.raises(ConfigError, match="saw must hold keys with values"):
        asked("t", "--config", str(file))
    file.write_text("saw: {plan: oak.svg}")
    assert asked("t", "--config", str(file)) == ("t", SawSettings(plan=tmp_path / "oak.svg"))
    monkeypatch.setenv("HOME", "/home/me")
    file.write_text("saw: {plan: ~/oak.svg}")
    assert asked("t", "--config", str(file)) == ("t", SawSettings(plan=Path("/home/me/oak.svg")))
    file.write_text("saw: {plan: null}")
    assert asked("t", "--config", str(file)) == ("t", SawSettings())


def test_a_configuration_that_changes_nothing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("swa: {teeth: 12}")
    assert asked("t", "--config", str(file)) == ("t", SawSettings())
    (line,) = caplog.messages
    assert "sets nothing in a section `saw`" in line


def test_a_configuration_is_never_overwritten(tmp_path: Path) -> None:
    app = typer.Typer()

    @app.command()
    @with_settings
    @writes(out=())
    def saw(out: Annotated[Path, typer.Option()], settings: SawSettings) -> None:
        out.write_text("sawn")

    file = tmp_path / "c.yaml"
    file.write_text("saw: {teeth: 12}")
    result = CliRunner().invoke(app, ["--out", str(file), "--config", str(file)])
    assert isinstance(result.exception, GlaciersegError), result.output
    assert file.read_text() == "saw: {teeth: 12}"


class OtherSettings(Settings):
    """Settings of which one command lists only some."""

    unlisted: ClassVar[frozenset[str]] = frozenset({"width_m"})

    width_m: float = 1.0
    """Width of a plank."""
    height_m: float = 2.0
    """Height of a plank."""


def test_unlisted_options_are_taken_but_not_listed() -> None:
    found: list[OtherSettings] = []
    app = typer.Typer()

    @app.command()
    @with_settings
    def saw(settings: OtherSettings) -> None:
        found.append(settings)

    listed = CliRunner().invoke(app, ["--help"]).output
    assert "--height-m" in listed
    assert "--width-m" not in listed
    assert CliRunner().invoke(app, ["--width-m", "3"]).exit_code == 0
    assert found == [OtherSettings(width_m=3)]
