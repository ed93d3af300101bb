"""Benchmarks: each beside its peer in the same run, as tables for people.

`python -m tests.benchmarks` runs all, `python -m tests.benchmarks subject import` runs two. A module
`bench_<name>.py` in this folder has a docstring, whose first line is its heading, and `run() -> list[Row]`.
"""
