"""The tests, a module for each topic; `anywasm.testing.engines.plugin` collects them."""
