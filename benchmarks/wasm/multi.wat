;; Several results; a module of its own, since not every engine knows them.
(module
  (func (export "swap") (param i32 i32) (result i32 i32)
    (local.get 1) (local.get 0)))
