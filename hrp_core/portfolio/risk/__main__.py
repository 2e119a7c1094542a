"""Prints docs/risk-rules.md: `python -m hrp_core.portfolio.risk`."""

import sys

from hrp_core.portfolio.risk.table import docs_page

sys.stdout.write(docs_page())
