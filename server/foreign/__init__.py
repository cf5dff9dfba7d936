"""Foreign functions that need a library, offered through the hook that third parties use."""

from anywasm.server.foreign.cel import CEL_FUNCTIONS, CelFunctions, offer_cel

__all__ = ["CEL_FUNCTIONS", "CelFunctions", "offer_cel"]
