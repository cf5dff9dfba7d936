"""What becomes of a plugin whose guests break: what is told of it, and when it is tried again."""

from anywasm.plugins.failures.circuit import Circuit, CircuitState
from anywasm.plugins.failures.failure import Failure, Frame
from anywasm.plugins.failures.report import FailureLog

__all__ = ["Circuit", "CircuitState", "Failure", "FailureLog", "Frame"]
