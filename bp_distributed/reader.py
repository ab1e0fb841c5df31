# SPDX-License-Identifier: BSD-3-Clause
"""Look into result files from a process that may die of it.

A damaged HDF5 file can crash or hang its reader, so a file is first opened in a helper process, which
is fed paths and answers one line each; it ends when its owner closes the pipe or dies.
"""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

TIMEOUT_S = 60.0
_NUMBERS_AT_A_TIME = 1 << 24


class Reader:
    """A helper process that judges result files; started on first use, replaced when it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the helper."""
        if self._process:
            with suppress(BrokenPipeError):  # it died with our question unread
                cast("IO[str]", self._process.stdin).close()
            cast("IO[str]", self._process.stdout).close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def complaint(self, path: Path) -> str:
        """Return what is wrong with the file at ``path``, or an empty string.

        Wrong means: it does not open, a variable is not of this project, has unexpected dimensions or
        units, or holds fill values or numbers that are not finite (NaN is allowed where there may be gaps).
        """
        if self._process and self._process.poll() is not None:  # it was killed between two files
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bp_distributed.reader"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        process = self._process
        stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        answer, hung = "", False
        with suppress(OSError):  # a dead helper cannot be written to
            stdin.write(json.dumps(str(path.absolute())) + "\n")
            stdin.flush()
            ready, _, _ = select.select([stdout], [], [], TIMEOUT_S)
            hung = not ready
            answer = stdout.readline() if ready else ""
        if not answer:
            self.close()
            return f"reading it hung for {TIMEOUT_S:g} s" if hung else "reading it crashed the reader"
        return str(json.loads(answer))


def examine(path: str) -> str:
    """Return what is wrong with a result file; runs in the helper."""
    import netCDF4  # noqa: PLC0415 - only the helper loads the library that can crash
    import numpy as np  # noqa: PLC0415

    from bp_distributed.units import VARIABLES  # noqa: PLC0415

    try:
        with netCDF4.Dataset(path) as file:
            for name, variable in file.variables.items():
                if name not in VARIABLES:
                    return f"unknown variable {name!r}"
                known = VARIABLES[name]
                if variable.dimensions != known.dims or variable.units != known.units:
                    return f"{name}: dimensions {variable.dimensions} and unit {variable.units!r} are not as defined"
                for part in _parts(variable.shape):
                    values: Any = variable[part]
                    numbers = np.ma.getdata(values)
                    if known.has_gaps and not np.isinf(numbers).any():
                        continue
                    if np.ma.is_masked(values) or not np.isfinite(numbers).all():
                        return f"{name}: holds missing or non-finite numbers"
    except (OSError, RuntimeError, AttributeError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _parts(shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield what to index an array with so that it never lies in memory whole."""
    if not shape:
        yield ...
        return
    step = max(64, _NUMBERS_AT_A_TIME // max(1, math.prod(shape[1:])))
    for begin in range(0, shape[0], step):
        yield slice(begin, begin + step)


def main() -> None:
    """Answer one JSON line per path until the pipe closes."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(examine(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
