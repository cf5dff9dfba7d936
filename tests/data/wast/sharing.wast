;; Memories, tables and globals that modules share with each other and with the host.

(module $owner
  (memory (export "memory") 1 3)
  (table (export "table") 2 4 funcref)
  (global (export "count") (mut i32) (i32.const 5))
  (func $double (param i32) (result i32) local.get 0 i32.const 2 i32.mul)
  (elem (i32.const 1) $double)
  (func (export "byte") (param i32) (result i32) local.get 0 i32.load8_u))
(register "owner" $owner)

(module $user
  (import "owner" "memory" (memory 1))
  (import "owner" "table" (table 2 funcref))
  (import "owner" "count" (global $count (mut i32)))
  (import "owner" "byte" (func $byte (param i32) (result i32)))
  (import "spectest" "global_i32" (global $host i32))
  (type $unary (func (param i32) (result i32)))
  (data (i32.const 10) "*")
  (export "count" (global $count))
  (export "byte" (func $byte))
  (func (export "call") (param i32) (result i32) local.get 0 i32.const 1 call_indirect (type $unary))
  (func (export "add") (result i32) global.get $count global.get $host i32.add
    global.set $count global.get $count)
  (func (export "grow") (result i32) i32.const 1 memory.grow))

(assert_return (invoke $user "call" (i32.const 21)) (i32.const 42))
(assert_return (invoke $user "byte" (i32.const 10)) (i32.const 42))
(assert_return (invoke $user "add") (i32.const 671))
(assert_return (get $user "count") (i32.const 671))
(assert_return (invoke $user "grow") (i32.const 1))
(assert_trap (invoke $user "byte" (i32.const 131072)) "out of bounds memory access")

(module
  (import "spectest" "memory" (memory 1 2))
  (import "spectest" "table" (table 10 20 funcref))
  (import "spectest" "global_i64" (global i64))
  (import "spectest" "global_f32" (global f32))
  (import "spectest" "global_f64" (global $f64 f64))
  (func (export "f64") (result f64) global.get $f64))
(assert_return (invoke "f64") (f64.const 666.6))

(assert_unlinkable (module (import "owner" "memory" (memory 3))) "incompatible import type")
(assert_unlinkable (module (import "owner" "table" (table 2 3 funcref))) "incompatible import type")
(assert_unlinkable (module (import "owner" "count" (global i32))) "incompatible import type")
