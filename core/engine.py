"""Everything that an engine is written with, in one place: see `docs/write-an-engine.md`.

An engine subclasses `VM`, `Module` and `Instance`, and a memory class. Names of the seam that are
not here or in `anywasm` itself may change without a new `ENGINE_API_VERSION`.

- A binding that takes Python numbers: `value_export` and `value_host` hold calls to the rules for
  numbers, `ValueGlobal` does so for globals; raw bits follow from them.
- One whose C code shares a buffer with Python: `slot_export`, `slot_host` and `SlotLayout`.
- A memory that is a buffer: `Memory`. One that is none: `CopiedMemory`.
- Instances that share memories, tables, globals and functions: `Store`, `Table`.
- Guests that are suspended: `Suspending`, and `CallGate.suspend` while one is.
- Deadlines: `CallGate.expires` and `check_time` where the engine asks whether time is up, `Ticker`
  where it must be told, `MeteredGate` and `meter` where it can do neither.
"""

from anywasm.core.binary import ModuleInterface
from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.copied_memory import CopiedMemory
from anywasm.core.deadlines import TICK, Ticker
from anywasm.core.gate import CallGate, Deadline
from anywasm.core.globals import Global, ValueGlobal
from anywasm.core.instance import Instance
from anywasm.core.limits import MOST_TABLE_ELEMENTS, ResourceLimits
from anywasm.core.marshal import (
    SlotLayout,
    SlotViews,
    bits_adapter,
    bits_type,
    check_bits,
    slot_export,
    slot_export_bits,
    slot_host,
    value_bits,
    value_export,
    value_host,
)
from anywasm.core.memory import PAGE_SIZE, Memory
from anywasm.core.metering import MeteredGate, MeteringPlan, meter
from anywasm.core.module import Module
from anywasm.core.store import Store
from anywasm.core.suspending import Suspending
from anywasm.core.tables import Table
from anywasm.core.types import (
    CustomSection,
    ExportType,
    ExternKind,
    FuncType,
    GlobalType,
    ImportType,
    MemoryType,
    TableType,
    ValueType,
)
from anywasm.core.vm import ENGINE_API_VERSION, VM

__all__ = [
    "ENGINE_API_VERSION",
    "MOST_TABLE_ELEMENTS",
    "PAGE_SIZE",
    "TICK",
    "VM",
    "CallGate",
    "Capabilities",
    "CopiedMemory",
    "CustomSection",
    "Deadline",
    "ExportType",
    "ExternKind",
    "Feature",
    "FuncType",
    "Global",
    "GlobalType",
    "ImportType",
    "Instance",
    "Memory",
    "MemoryType",
    "MeteredGate",
    "MeteringPlan",
    "Module",
    "ModuleInterface",
    "ResourceLimits",
    "SlotLayout",
    "SlotViews",
    "Store",
    "Suspending",
    "Table",
    "TableType",
    "Ticker",
    "ValueGlobal",
    "ValueType",
    "bits_adapter",
    "bits_type",
    "check_bits",
    "meter",
    "slot_export",
    "slot_export_bits",
    "slot_host",
    "value_bits",
    "value_export",
    "value_host",
]
