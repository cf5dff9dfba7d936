"""Several processes that serve the same behind one address."""

from anywasm.server.workers.settings import WorkerSettings
from anywasm.server.workers.supervisor import Supervisor
from anywasm.server.workers.worker import Worker

__all__ = ["Supervisor", "Worker", "WorkerSettings"]
