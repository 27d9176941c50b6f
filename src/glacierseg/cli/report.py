"""Commands for what a run found: its page and its figures."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

_log = logging.getLogger(__name__)

RunDir = Annotated[Path, typer.Argument(help="Folder of a run.")]


def add_report_commands(app: typer.Typer) -> None:
    """Adds `report` and `figures` to the command line."""
    for command in (report, figures):
        app.command()(command)


def report(run_dir: RunDir) -> None:
    """Write the report of a run again."""
    from glacierseg.report import write_report

    _log.info(f"report: {write_report(run_dir)}")


def figures(
    run_dir: RunDir,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")],
    format_: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="PNG has 300 dots per inch.")
    ] = "png",
) -> None:
    """Write the figures of a run, for papers and talks."""
    from glacierseg.report.figures import write_figures

    for path in write_figures(run_dir, out, kind=format_):
        _log.info(f"figure: {path}")
