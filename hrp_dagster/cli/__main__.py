"""`python -m hrp_dagster.cli`: the `hrp` command for child processes of this interpreter."""

from hrp_dagster.cli.app import main

main()
