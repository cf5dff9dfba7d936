"""The management API: install, update, uninstall and list plugins; metrics and health.

Its application (`app`) and what serves that (`listener`) bring a web framework; they are imported
where a management API is configured.
"""

from anywasm.server.admin.administration import Action, Administration, Health
from anywasm.server.admin.errors import RefusedError, answer_to
from anywasm.server.admin.local import LocalAdministration

__all__ = [
    "Action",
    "Administration",
    "Health",
    "LocalAdministration",
    "RefusedError",
    "answer_to",
]
