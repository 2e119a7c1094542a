"""Measured claims: each `bench_*` module prints JSON lines and says whether its claims hold.

What belongs here: claims about speed and memory, measured against a reference in the same run. What does not:
correctness (tests).
"""
