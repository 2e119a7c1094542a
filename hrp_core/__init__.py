"""The domain of HRP: prices to NAV, in plain Python.

What belongs here: everything that decides, sends, records or computes. What does not: Dagster, and any
other orchestrator (`hrp_dagster` is the thin layer that calls this package).
"""
