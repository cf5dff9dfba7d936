"""The management API: install, update, uninstall and list plugins; metrics and health."""

from anywasm.server.admin.administration import Action, Administration, Health
from anywasm.server.admin.app import make_app
from anywasm.server.admin.errors import RefusedError, answer_to
from anywasm.server.admin.listener import AdminListener
from anywasm.server.admin.local import LocalAdministration

__all__ = [
    "Action",
    "AdminListener",
    "Administration",
    "Health",
    "LocalAdministration",
    "RefusedError",
    "answer_to",
    "make_app",
]
