;; Modules that import from each other and from the host.

(module $counter
  (func (export "next") (result i32) (i32.add (i32.load (i32.const 8)) (i32.const 1))
    (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))))
  (memory 1)
  (func (export "same") (param f64) (result f64) local.get 0))
(register "counter" $counter)

(module $user
  (import "counter" "next" (func $next (result i32)))
  (import "counter" "same" (func $same (param f64) (result f64)))
  (import "spectest" "print_i32" (func $print (param i32)))
  (func (export "two") (result i32) (drop (call $next)) (call $next))
  (func (export "same") (param f64) (result f64) local.get 0 call $same)
  (func (export "print") i32.const 1 call $print))

(assert_return (invoke $counter "next") (i32.const 1))
(assert_return (invoke $user "two") (i32.const 3))
(assert_return (invoke $counter "next") (i32.const 4))
(assert_return (invoke $user "same" (f64.const 0.1)) (f64.const 0.1))
(invoke $user "print")

(assert_unlinkable (module (import "counter" "nothing" (func))) "unknown import")
(assert_unlinkable (module (import "counter" "next" (func (result i64)))) "incompatible import type")
(assert_unlinkable (module (import "spectest" "print_f64" (func (param f32)))) "incompatible import type")
(assert_trap (module (func $start unreachable) (start $start)) "unreachable")
