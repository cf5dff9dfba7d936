"""Runs the WebAssembly specification's tests, scripts in the format `.wast`, on any engine."""

from anywasm.testing.conformance.converter import ConversionError, Converter, find_converter
from anywasm.testing.conformance.known import KnownFailures, read_known
from anywasm.testing.conformance.report import Report
from anywasm.testing.conformance.result import Result, Status
from anywasm.testing.conformance.suite import Script, find_scripts, run_script

__all__ = [
    "ConversionError",
    "Converter",
    "KnownFailures",
    "Report",
    "Result",
    "Script",
    "Status",
    "find_converter",
    "find_scripts",
    "read_known",
    "run_script",
]
