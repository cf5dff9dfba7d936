"""The life of WASM plugins: configuration, loading, pooling, routing, reloading."""
