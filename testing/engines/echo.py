"""The guest of the suite that gives back what it is given."""

from __future__ import annotations

from typing import ClassVar

from anywasm.engines.null.library import NullGuest, export

#: A function for each type of number, and one that takes and gives nothing.
ECHO = """\
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "nothing"))
"""


class Echo(NullGuest):
    """The same in Python, without a memory."""

    memory_export: ClassVar[str | None] = None

    @export("i32 -> i32")
    def i32(self, value: int) -> int:
        """The same number."""
        return value

    @export("i64 -> i64")
    def i64(self, value: int) -> int:
        """The same number."""
        return value

    @export("f32 -> f32")
    def f32(self, value: float) -> float:
        """The same number."""
        return value

    @export("f64 -> f64")
    def f64(self, value: float) -> float:
        """The same number."""
        return value

    @export("->")
    def nothing(self) -> None:
        """No number."""
