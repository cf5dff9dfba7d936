"""What a run comes to in a few lines."""

from __future__ import annotations

from anywasm.benchmarks.result import Result, Run
from anywasm.benchmarks.summary import ratios, summary


def result(
    group: str,
    case: str,
    subject: str,
    median: float,
    unit: str = "s",
    best: float | None = None,
) -> Result:
    return Result(group, case, subject, unit, median, 0.0, best or median, 1)


def test_engines_are_named_best_first_with_how_many_times_worse_the_others_are() -> None:
    run = Run(
        {},
        {"a": "1", "b": "1", "c": "1", "null": "3"},
        [
            result("abi", "stream with one header added", "a", 20e-6),
            result("abi", "stream with one header added", "b", 10e-6),
            result("abi", "stream with one header added", "c", 10.1e-6),
            result("abi", "stream with one header added", "null", 1e-6),
            result("kernels", "fib", "a", 1.0),
            result("kernels", "fib", "b", 40.0),
            result("kernels", "fib", "c", 1.0),
            result("kernels", "sieve", "a", 1.0),
            result("kernels", "sieve", "b", 10.0),
            result("kernels", "sieve", "c", 4.0),
        ],
    )
    first, second = summary(run)
    assert first.endswith("compute little: b (10.0 us); c as much, a 2.0 times as much.")
    assert second == "Computing: a; c 2.0 times as much, b 20 times as much."


def test_what_one_engine_alone_was_measured_for_says_nothing() -> None:
    run = Run({}, {"a": "1"}, [result("kernels", "fib", "a", 1.0)])
    assert list(summary(run)) == []


def test_ratios_are_ours_to_theirs_of_bindings_and_of_envoy() -> None:
    run = Run(
        {},
        {"a": "1"},
        [
            result("crossing", "host call", "a", 1e-7),
            result("crossing", "host call", "a binding", 1e-5, best=5e-6),
            result("crossing", "host call", "plain Python", 1e-8),
            result("http", "proxied: CPU per request", "no engine", 30e-6),
            result("http", "proxied: CPU per request", "Envoy", 20e-6),
            result("http", "proxied: p99", "no engine", 1.0),
            result("http", "proxied: p99", "Envoy", 2.0),
        ],
    )
    first, second = ratios(run)
    assert (first.what, first.who) == ("host call, a", "a binding")
    assert abs(first.share - 0.01) < 1e-9
    assert abs(first.best - 0.02) < 1e-9
    assert (second.what, second.ours, second.theirs, second.share) == (
        "proxied: CPU per request, no engine",
        "30.0 us",
        "20.0 us",
        1.5,
    )
