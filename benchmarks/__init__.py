"""Benchmarks of the suite against a plain PyTorch loop and against what the hardware allows.

    python -m benchmarks.run --output speed.json
    python -m benchmarks.same_training --output same.json

docs/performance.md says what is measured and holds the results.
"""
