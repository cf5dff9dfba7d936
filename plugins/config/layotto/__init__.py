"""Layotto's configuration file, as far as it speaks of WASM functions.

Translated into the project's own schema and then validated like it. The nesting is MOSN's: servers,
listeners, filter chains, stream filters. Read from mosn/layotto f9681450 (`pkg/wasm/config.go`,
`pkg/wasm/factory.go`, `pkg/runtime/state`), and its older form from f1cf350a.
"""

from anywasm.plugins.config.layotto.servers import is_layotto, translate

__all__ = ["is_layotto", "translate"]
