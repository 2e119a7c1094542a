"""The only classifier of IB's message codes.

What belongs here: from a code and its text to what it means for an order and for us. The rows are data in
`ib_code_table`; a code that has no row is unknown, and so is the order that it names until it is queried.
Run this module to print docs/ib-codes.md.
"""

import sys

from hrp_core.execution.ib_code_table import ROWS, Code, CodeKind
from hrp_core.ledger.types import OrderStatus

__all__ = ["Code", "CodeKind", "classify", "docs_page", "docs_table"]

_WARNING_RANGE = range(2100, 2200)

_INTRO = """# IB message codes

What each message code of TWS and IB Gateway means for an order, and what the system does about it. This page
is generated from the code table (`python -m hrp_core.execution.ib_codes > docs/ib-codes.md`); a test keeps it
current. Where a code has several rows, the first whose condition fits the text applies.

A code without a row is `unknown`: the order that it names counts as unknown until open orders, completed
orders and executions have been asked for, and it is never sent again by itself. Codes 2100 to 2199 are
warnings of IB and change no order.

"""


def classify(code: int, text: str = "") -> Code:
    """Return what `code` means; `text` tells the meanings of one code apart (162, 201, 321)."""
    lowered = text.lower()
    for row in _BY_CODE.get(code, ()):
        if not row.when or any(fragment in lowered for fragment in row.when):
            return row
    if code in _WARNING_RANGE:
        return Code(code, "other_warning", CodeKind.WARNING, None, "log; no order depends on it", text)
    return Code(
        code,
        "unknown_code",
        CodeKind.UNKNOWN,
        OrderStatus.UNKNOWN,
        "the order it names may be live: ask for open orders, completed orders and executions",
        text,
    )


def docs_table() -> str:
    """Return the table of all codes in Markdown, ordered by code."""
    lines = [
        "| code | name | kind | the order is | what it says | what we do |",
        "|---|---|---|---|---|---|",
    ]
    for code in sorted(_BY_CODE):
        for row in _BY_CODE[code]:
            state = row.means_for_order.value if row.means_for_order else "unchanged"
            says = row.text
            if row.when:
                says += " (text has " + " or ".join(f"'{fragment}'" for fragment in row.when) + ")"
            lines.append(f"| {code} | {row.name} | {row.kind.value} | {state} | {says} | {row.action} |")
    return "\n".join(lines) + "\n"


def docs_page() -> str:
    """Return the whole of docs/ib-codes.md."""
    return _INTRO + docs_table()


def _index() -> dict[int, tuple[Code, ...]]:
    """Group the rows by code, those with a condition on the text first."""
    grouped: dict[int, list[Code]] = {}
    for row in ROWS:
        grouped.setdefault(row.code, []).append(row)
    return {code: tuple(sorted(rows, key=lambda row: not row.when)) for code, rows in grouped.items()}


_BY_CODE = _index()

if __name__ == "__main__":
    sys.stdout.write(docs_page())
