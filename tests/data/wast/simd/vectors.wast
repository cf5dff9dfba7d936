;; Vectors as arguments and results, by lanes of each kind.

(module
  (func (export "same") (param v128) (result v128) local.get 0)
  (func (export "add") (param v128 v128) (result v128) local.get 0 local.get 1 i16x8.add)
  (func (export "min") (param v128 v128) (result v128) local.get 0 local.get 1 f32x4.min)
  (func (export "lane") (param v128) (result i64) local.get 0 i64x2.extract_lane 1))

(assert_return (invoke "same" (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 -1))
  (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 -1))
(assert_return
  (invoke "add" (v128.const i16x8 1 2 3 4 5 6 7 65535) (v128.const i16x8 1 1 1 1 1 1 1 1))
  (v128.const i16x8 2 3 4 5 6 7 8 0))
(assert_return
  (invoke "min" (v128.const f32x4 nan 1 -0 4) (v128.const f32x4 1 nan 0 3))
  (v128.const f32x4 nan:canonical nan:canonical -0 3))
(assert_return (invoke "lane" (v128.const i64x2 5 -6)) (i64.const -6))
(assert_return (invoke "same" (v128.const f64x2 nan:0x8000000000001 -0)) (v128.const f64x2 nan:0x8000000000001 -0))
