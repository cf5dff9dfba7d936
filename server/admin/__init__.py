"""The management API: install, update, uninstall and list plugins; metrics and health."""

from anywasm.server.admin.app import make_app
from anywasm.server.admin.listener import AdminListener

__all__ = ["AdminListener", "make_app"]
