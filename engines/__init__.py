"""The built-in WebAssembly engines, one folder each, all of one shape."""
