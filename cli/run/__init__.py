"""`anywasm run`: one filter, without a file to write."""

from anywasm.cli.run.command import run

__all__ = ["run"]
