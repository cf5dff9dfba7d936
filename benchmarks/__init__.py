"""The benchmark suite and its report."""
