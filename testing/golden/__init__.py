"""Recorded answers of real Envoy, replayed against this host: the golden cases.

`Runner` replays the cases of a folder on an engine; `anywasm golden` is its command. Two more
commands live here: `python -m anywasm.testing.golden.modules` tries third-party modules on every
engine, and `python -m anywasm.testing.golden.live` asks a running Envoy the same as this host.
"""

from anywasm.testing.golden.case import Case, read_cases
from anywasm.testing.golden.guests import GuestFinder
from anywasm.testing.golden.runner import CaseResult, Outcome, Runner

__all__ = ["Case", "CaseResult", "GuestFinder", "Outcome", "Runner", "read_cases"]
