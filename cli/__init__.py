"""The `anywasm` command."""
