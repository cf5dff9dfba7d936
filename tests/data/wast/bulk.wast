;; Memory filled and copied; segments that are copied when asked for.

(module
  (memory 1)
  (func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
  (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load))
(invoke "fill" (i32.const 0) (i32.const 1) (i32.const 4))
(invoke "copy" (i32.const 2) (i32.const 0) (i32.const 4))
(assert_return (invoke "load" (i32.const 2)) (i32.const 0x01010101))
(assert_trap (invoke "fill" (i32.const 65535) (i32.const 0) (i32.const 2)) "out of bounds memory access")
