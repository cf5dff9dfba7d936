"""Modules from URLs and registries: fetched safely, checked, and kept on disk."""

from anywasm.plugins.remote.fetch import fetch_module
from anywasm.plugins.remote.http import shown

__all__ = ["fetch_module", "shown"]
