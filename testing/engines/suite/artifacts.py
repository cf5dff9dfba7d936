from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.artifact import Artifact, write_artifact
from anywasm.core.errors import ArgumentError, CompileError, UnsupportedError
from anywasm.core.module import Module
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest

claimed = pytest.mark.capable(serialize=True)

WAT = """(module $counter
  (import "env" "step" (func $step (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 4) "data")
  (func (export "next") (result i32)
    i32.const 0 i32.const 0 i32.load call $step i32.add i32.store i32.const 0 i32.load)
  (func $fails (export "fail") unreachable))
"""


class Anything(NullGuest):
    pass


@claimed
def test_loaded_module_is_the_compiled_one(vm: VM, wat: Callable[[str], Module]) -> None:
    with wat(WAT) as module:
        artifact = module.serialize()
        assert artifact == module.serialize()
    with vm.load(artifact) as loaded:
        assert loaded.imports == module.imports
        assert loaded.exports == module.exports
        assert loaded.custom_sections == module.custom_sections
        with loaded.instantiate({"env": {"step": lambda: 5}}) as instance:
            assert instance.exports["next"]() == 5
            assert instance.exports["next"]() == 10
            assert instance.memory is not None
            assert instance.memory.read(4, 4) == b"data"
        assert loaded.serialize() == artifact


@claimed
def test_another_vm_of_the_engine_loads_it(vm: VM, wat: Callable[[str], Module]) -> None:
    artifact = wat(WAT).serialize()
    with type(vm)() as other:
        module = other.load(memoryview(artifact))  # type: ignore[arg-type]
    with module.instantiate({"env": {"step": lambda: 1}}) as instance:
        assert instance.exports["next"]() == 1


@claimed
def test_a_file_is_loaded(vm: VM, wat: Callable[[str], Module], tmp_path: Path) -> None:
    path = tmp_path / "counter.artifact"
    with wat(WAT) as module:
        path.write_bytes(module.serialize())
    with vm.load_file(path) as loaded:
        path.unlink()
        assert (loaded.imports, loaded.exports) == (module.imports, module.exports)
        with loaded.instantiate({"env": {"step": lambda: 7}}) as instance:
            assert instance.exports["next"]() == 7


@claimed
def test_a_file_that_is_no_artifact_is_refused(
    vm: VM, wat: Callable[[str], Module], tmp_path: Path
) -> None:
    path = tmp_path / "damaged"
    artifact = wat(WAT).serialize()
    for data in (b"", b"x", artifact[:-1], artifact[1:], artifact + b"x"):
        path.write_bytes(data)
        with pytest.raises(CompileError):
            vm.load_file(path)
    for nowhere in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CompileError, match="cannot read the artifact"):
            vm.load_file(nowhere)


@claimed
def test_damaged_artifact_is_refused(vm: VM, wat: Callable[[str], Module]) -> None:
    artifact = wat(WAT).serialize()
    size = len(artifact)
    for end in {0, 1, 8, 9, 12, 40, 200, size // 2, size - 1}:
        with pytest.raises(CompileError):
            vm.load(artifact[:end])
    for position in range(0, size, max(1, size // 97)):
        damaged = bytearray(artifact)
        damaged[position] ^= 0x41
        with pytest.raises(CompileError):
            vm.load(bytes(damaged))
    with pytest.raises(CompileError):
        vm.load(artifact + b"\0")


@claimed
def test_foreign_artifact_is_refused(vm: VM) -> None:
    content = Artifact(b"\0asm\1\0\0\0", b"code")
    for engine, version in (
        ("another", vm.artifact_version),
        (vm.name, "0.0"),
        (vm.name, vm.artifact_version + "x"),
    ):
        with pytest.raises(CompileError, match="foreign artifact: made for"):
            vm.load(write_artifact(engine, version, content))


@claimed
def test_code_that_is_none_is_refused(vm: VM) -> None:
    for code in (b"", b"no code at all"):
        content = Artifact(b"\0asm\1\0\0\0", code)
        with pytest.raises(CompileError):
            vm.load(write_artifact(vm.name, vm.artifact_version, content))


@claimed
def test_wasm_is_no_artifact(vm: VM, assemble: Callable[[str], bytes]) -> None:
    with pytest.raises(CompileError, match="not an artifact"):
        vm.load(assemble(WAT))
    with pytest.raises(CompileError):
        vm.compile(vm.compile(assemble("(module)")).serialize())


@claimed
@pytest.mark.parametrize("artifact", ["text", None, 1])
def test_artifacts_are_bytes(vm: VM, artifact: bytes) -> None:
    with pytest.raises(ArgumentError, match="bytes"):
        vm.load(artifact)


@pytest.mark.capable(serialize=False)
def test_where_it_is_not_claimed(vm: VM, guest: Callable[[str, type[NullGuest]], Module]) -> None:
    with pytest.raises(UnsupportedError, match="cannot serialize"):
        guest("(module)", Anything).serialize()
    with pytest.raises(UnsupportedError, match="cannot load"):
        vm.load(b"anything")
    with pytest.raises(UnsupportedError, match="cannot load"):
        vm.load_file("anything")
