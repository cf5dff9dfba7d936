"""The proxy-wasm ABI, written once over the engine seam."""
