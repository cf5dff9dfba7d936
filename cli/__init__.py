"""The `anywasm` command."""

from anywasm.cli.app import main

__all__ = ["main"]
