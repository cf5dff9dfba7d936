;; What crosses between host and guest, one export for each kind.
(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "empty"))
  (func (export "add_i32") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "add_i64") (param i64 i64) (result i64)
    (i64.add (local.get 0) (local.get 1)))
  (func (export "add_f64") (param f64 f64) (result f64)
    (f64.add (local.get 0) (local.get 1)))
  ;; Calls the host as often as it is told, each time with what the host answered last.
  (func (export "call_host") (param $times i32) (result i32)
    (local $value i32)
    (block $out (loop $next
      (br_if $out (i32.eqz (local.get $times)))
      (local.set $value (call $host (local.get $value)))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br $next)))
    (local.get $value)))
