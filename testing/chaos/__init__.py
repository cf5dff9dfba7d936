"""Does harm to a server, and looks whether every request still gets exactly one good answer.

`python -m anywasm.testing.chaos` starts `anywasm start` in a process of its own, with guests that
trap, loop, recurse and take all memory on request, and meanwhile replaces their modules, restarts
Redis and kills workers. What each request may be answered follows from what was done to it; what
is never touched has to be answered as if nothing happened.
"""

from anywasm.testing.chaos.run import Chaos
from anywasm.testing.chaos.settings import Settings
from anywasm.testing.chaos.verdict import Verdict

__all__ = ["Chaos", "Settings", "Verdict"]
