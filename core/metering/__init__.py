"""Deadlines for engines that cannot be interrupted: the guest itself looks whether time is up."""

from anywasm.core.metering.code import RESERVE
from anywasm.core.metering.gate import SLICE, UNBOUNDED, MeteredGate
from anywasm.core.metering.plan import REVISION, MeteringPlan
from anywasm.core.metering.rewrite import meter

__all__ = ["RESERVE", "REVISION", "SLICE", "UNBOUNDED", "MeteredGate", "MeteringPlan", "meter"]
