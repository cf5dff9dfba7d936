"""The seam that every engine backs: VM, Module, Instance, and what they speak of."""
