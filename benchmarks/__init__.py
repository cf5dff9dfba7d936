"""What anywasm costs: a pytest-benchmark suite, which `anywasm bench` runs, and its report.

Benchmarks are the functions `bench_*` of the modules `bench_*`; `anywasm.benchmarks.suite` is the
pytest plugin that gives them engines to measure.
"""
