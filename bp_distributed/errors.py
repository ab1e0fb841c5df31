# SPDX-License-Identifier: BSD-3-Clause
"""The error tree.  Every error is one sentence: what was given, what was expected, what to do.

Fields go to ``super().__init__`` so that errors survive the trip between processes, which rebuilds
them from ``args``; the sentence is made in ``__str__``.
"""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """Who is to blame, and so what happens next (``reliability.md``, section 4)."""

    INFRASTRUCTURE = "infrastructure"
    SAMPLE = "sample"
    CONFIGURATION = "configuration"


class Reason(StrEnum):
    """Closed list of scientific reasons for a rejected or failed sample."""

    NOT_MELTED = "not_melted"
    CELL_DISTORTED = "cell_distorted"
    NOT_CONVERGED = "minimisation_not_converged"
    UNSTABLE = "negative_mode"
    NO_PEAK = "no_boson_peak"
    ATOMS_LOST = "atoms_lost"
    NOT_FINITE = "not_finite"
    LAMMPS_ERROR = "lammps_error"
    SOLVER_FAILED = "eigen_solver_failed"


class CampaignError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class ConfigError(CampaignError, ValueError):
    """Bad input.  ``where`` is ``file:line`` or ``file``; ``key`` may be empty."""

    exit_code = 2

    def __init__(self, where: str, key: str, what: str) -> None:
        super().__init__(where, key, what)
        self.where, self.key, self.what = where, key, what

    def __str__(self) -> str:
        """Return ``file:line: key: what, got, expected``."""
        return ": ".join(part for part in (self.where, self.key, self.what) if part)


class StoreError(CampaignError, OSError):
    """The campaign folder cannot be used as asked."""

    exit_code = 2

    def __init__(self, path: str, what: str) -> None:
        Exception.__init__(self, path, what)
        self.path, self.what = path, what

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, str]]:
        """Rebuild from the two fields (OSError would turn them into errno and text)."""
        return type(self), (self.path, self.what)

    def __str__(self) -> str:
        """Return ``path: what``."""
        return f"{self.path}: {self.what}"


class DamagedResultError(StoreError):
    """A committed result does not match its marker."""


class LockedError(CampaignError, RuntimeError):
    """Another live driver owns the campaign."""

    exit_code = 3

    def __str__(self) -> str:
        """Return the sentence given."""
        return str(self.args[0])


class SupersededError(LockedError):
    """A newer driver took this campaign over."""

    exit_code = 4


class TooLargeError(CampaignError, RuntimeError):
    """A task needs more than the largest job its lane may ask for."""


class SchedulerDiedError(CampaignError, RuntimeError):
    """The Dask scheduler ended under the driver."""

    exit_code = 5


class InfrastructureError(CampaignError, RuntimeError):
    """A child died, hung or left no verdict.  ``cause`` is one word, ``evidence`` a folder or text."""

    def __init__(self, cause: str, what: str, evidence: str = "") -> None:
        super().__init__(cause, what, evidence)
        self.cause, self.what, self.evidence = cause, what, evidence

    def __str__(self) -> str:
        """Return ``what (cause)``."""
        return f"{self.what} ({self.cause})"


class ScienceError(CampaignError, RuntimeError):
    """The sample itself failed: a reason from the closed list and a sentence."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(reason, what)
        self.reason, self.what = reason, what

    def __str__(self) -> str:
        """Return ``reason: what``."""
        return f"{self.reason.value}: {self.what}"
