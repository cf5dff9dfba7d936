;; What is no module, and what is one but not valid.

(module binary "\00asm" "\01\00\00\00")

(assert_malformed (module binary "") "unexpected end")
(assert_malformed (module binary "\00asm" "\02\00\00\00") "unknown binary version")
(assert_malformed
  (module binary "\00asm" "\01\00\00\00" "\05\05\01")
  "unexpected end of section or function")
(assert_malformed (module quote "(func (result i33))") "unexpected token")
(assert_invalid (module (func (result i32) i64.const 1)) "type mismatch")
(assert_invalid (module (func local.get 0)) "unknown local")
(assert_invalid (module (func (drop (i32.load (i32.const 0))))) "unknown memory")
(assert_invalid (module (func (export "twice")) (func (export "twice"))) "duplicate export name")
(assert_invalid
  (module (global $fixed i32 (i32.const 0)) (func i32.const 1 global.set $fixed))
  "global is immutable")
