# SPDX-License-Identifier: BSD-3-Clause
"""``python -m benchmarks [ROW ...]``: run benchmark rows, print a table, write ``benchmarks/results/<row>.json``.

A row is a module of this folder with ``run() -> dict(row, ours, peer, ratio, unit, detail)``.  ``ratio`` says how
many times better we are than the peer, or which fraction of the limit we reach; ours and peer are measured
interleaved in the same run, and medians are given.
"""

import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks

RESULTS = Path(__file__).parent / "results"


def rows() -> list[str]:
    """Return the names of all rows."""
    return sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")
    )


def machine() -> dict[str, object]:
    """Return what a figure must be quoted with."""
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(),
            "load_before": os.getloadavg()[0]}  # fmt: skip


def main(names: list[str]) -> int:
    """Run the rows asked for; return the exit code."""
    console = Console(highlight=False)
    if unknown := set(names) - set(rows()):
        console.print(f"unknown rows: {', '.join(sorted(unknown))}; known: {', '.join(rows())}")
        return 2
    RESULTS.mkdir(exist_ok=True)
    table = Table("row", "ours", "peer", "unit", "ratio", "seconds")
    table.columns[0].no_wrap = True
    for name in names or rows():
        facts, started = machine(), time.monotonic()
        console.print(f"running {name} ...")
        result = importlib.import_module(f"benchmarks.{name}").run()
        result["detail"] = {**result["detail"], "machine": facts}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        seconds = time.monotonic() - started
        ours, peer = (f"{result[key]:.4g}" for key in ("ours", "peer"))
        table.add_row(name, ours, peer, result["unit"], f"{result['ratio']:.3g}", f"{seconds:.0f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
