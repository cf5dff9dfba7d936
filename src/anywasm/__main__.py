"""`python -m anywasm`: the same as the `anywasm` command."""

from anywasm.cli import main

main()
