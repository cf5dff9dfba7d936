"""`anywasm demo`: the quickstart on every engine."""

from anywasm.cli.demo.command import demo

__all__ = ["demo"]
