"""The WASI preview 1 that proxy-wasm guests see: a log, clocks, randomness, their environment.

There are no files and no sockets. The answers are those of proxy-wasm-cpp-host, as recorded in the
golden case `edge-wasi`; ordinary Go, Rust, C++ and AssemblyScript builds start with them.
Importing this package fills the table.
"""

from anywasm.abi.wasi import clocks, environment, files, output, process

__all__ = ["clocks", "environment", "files", "output", "process"]
