"""Runs every benchmark: `python -m benchmarks [part of a name ...]`; ends with 1 when a claim fails.

Each `bench_*.py` runs in a process of its own, so that one's memory is not counted as another's.
"""

import subprocess
import sys
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run the benchmarks whose names contain one of `wanted` (default: all); return 1 when one failed."""
    names = [path.stem for path in sorted(Path(__file__).parent.glob("bench_*.py"))]
    chosen = [name for name in names if not wanted or any(part in name for part in wanted)]
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        for name in chosen
    ]
    return int(any(codes) or not chosen)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
