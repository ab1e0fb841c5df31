# SPDX-License-Identifier: BSD-3-Clause
"""A folder or file that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bp_distributed import durable
from bp_distributed.errors import StoreError

COLUMNS_NAME = "columns.json"
PACKAGE_NAME = "datapackage.json"


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``, which takes its place when all went well, and vanishes otherwise.

    Raises
    ------
    StoreError
        If ``target`` is there and no export of ours: only those are replaced.
    """
    _refuse_foreign(target)
    durable.make_private_dir(target.parent)
    name = f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}"
    new, old = target.with_name(f"{name}-new"), target.with_name(f"{name}-old")
    try:
        new.mkdir(mode=0o700)
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
        durable.sync_directory(target.parent)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if target.is_dir() and not target.is_symlink():
        names = set(os.listdir(target))  # noqa: PTH208 - one system call
        if not names or names & {COLUMNS_NAME, PACKAGE_NAME}:
            return
    raise StoreError(str(target), "is there already and no export; choose another place with --out")
