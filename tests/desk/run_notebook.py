"""Runs the code cells of a notebook in order, in one namespace: ``python run_notebook.py NOTEBOOK``.

The last expression of a cell is shown, as a notebook would. A process of its own, because a notebook has one.
"""

import ast
import json
import sys
from pathlib import Path


def main(path: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = tree.body[-1]
        shown = tree.body.pop() if isinstance(last, ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if isinstance(shown, ast.Expr):
            value = eval(compile(ast.Expression(shown.value), f"cell {number}", "eval"), namespace)
            sys.stdout.write(f"[{number}] {value}\n")


main(Path(sys.argv[1]))
