# SPDX-License-Identifier: BSD-3-Clause
"""A finished eigen-solve on disk, from which another attempt goes on when this one is killed before its end."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from bp_distributed.physics.filtered import LowModes
from bp_distributed.physics.hessian import FactoredHessian

NAME = "modes.restart.npz"


@dataclass(frozen=True)
class Solved:
    """Where the low modes of a dynamical matrix are kept.

    Attributes
    ----------
    workdir : Path
        Of this attempt.
    earlier : sequence of Path
        Of earlier attempts at the same sample, newest first.
    """

    workdir: Path
    earlier: Sequence[Path] = ()

    def read(self, dynamical: FactoredHessian, cut: float) -> LowModes | None:
        """Return what an attempt kept of exactly this matrix and cut; a torn or foreign file does not exist."""
        wanted = _fingerprint(dynamical, cut)
        for folder in (self.workdir, *self.earlier):
            try:
                with (folder / NAME).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                    if str(stored["fingerprint"]) != wanted:
                        continue
                    return LowModes(stored["value_k"], stored["vector_xk"], float(stored["complete_below"]))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
        return None

    def write(self, dynamical: FactoredHessian, cut: float, low: LowModes) -> None:
        """Keep ``low``, whole or not at all; reading checks the archive's own checksums."""
        aside = self.workdir / f".{NAME}"
        with aside.open("wb") as file:
            content = {field.name: np.asarray(getattr(low, field.name)) for field in fields(low)}
            np.savez(file, fingerprint=np.str_(_fingerprint(dynamical, cut)), **content)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.workdir / NAME)


def _fingerprint(dynamical: FactoredHessian, cut: float) -> str:
    digest = hashlib.sha256(np.float64(cut).tobytes())
    for field in fields(dynamical):
        digest.update(np.ascontiguousarray(getattr(dynamical, field.name)).data)
    return digest.hexdigest()
