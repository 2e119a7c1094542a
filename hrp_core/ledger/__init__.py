"""The order journal and the book that is folded from it.

What belongs here: what was decided, sent and filled (`Journal`), and the arithmetic of positions, cash and
NAV over it. Nothing here knows a broker.
"""
