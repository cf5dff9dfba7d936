"""Reloads plugins under load, and tells whether a request was lost or anything was left behind."""

from anywasm.testing.reloads.outcome import Outcome, ReloadError, report
from anywasm.testing.reloads.run import run

__all__ = ["Outcome", "ReloadError", "report", "run"]
