"""Envoy's configuration, as far as it speaks of HTTP listeners, WASM filters and clusters.

Translated into the project's own schema and then validated like it. Read from Envoy 1.40's API
(`envoy.config.bootstrap.v3`, `...filters.network.http_connection_manager.v3`,
`...filters.http.wasm.v3`, `envoy.extensions.wasm.v3`). Keys may be spelled in snake_case or in
camelCase, as everywhere in protobuf's JSON form. What would change the meaning and is not served
is refused; what has no effect here is named once.
"""

from anywasm.plugins.config.envoy.bootstrap import is_bootstrap, translate_bootstrap
from anywasm.plugins.config.envoy.wasm_filter import is_wasm_filter, translate_filter

__all__ = ["is_bootstrap", "is_wasm_filter", "translate_bootstrap", "translate_filter"]
