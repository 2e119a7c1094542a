"""Dagster on top of `hrp_core`: assets, checks, resources, jobs, and the `hrp` command."""
