"""Figures and the HTML page of a run: which model, which bands, how good, where wrong."""

from glacierseg.report.page import write_report

__all__ = ["write_report"]
