# SPDX-License-Identifier: BSD-3-Clause
"""A PBS of four nodes on this machine: the commands in this folder on the path, and no job left when it stops."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


class PbsSite:
    """``PATH`` and ``FAKE_PBS_HOME`` are set in this process's environment while it runs."""

    def __enter__(self):
        self.home = Path(tempfile.mkdtemp(prefix="bpd-pbs-"))
        self._before = os.environ["PATH"]
        os.environ |= {"PATH": f"{HERE}:{self._before}", "FAKE_PBS_HOME": str(self.home)}
        return self

    def __exit__(self, *_):
        (self.home / "no_history").unlink(missing_ok=True)
        for path in self.home.glob("trouble.*"):
            path.unlink()
        deadline = time.monotonic() + 30
        while (alive := self.ask("qselect").split()) and time.monotonic() < deadline:
            subprocess.run(["qdel", *alive], capture_output=True, check=False)
            time.sleep(0.05)
        os.environ["PATH"] = self._before
        del os.environ["FAKE_PBS_HOME"]
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, *command):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def trouble(self, command, *lines):
        """Let the next calls of a command fail, each with ``<exit code> <message>``."""
        (self.home / f"trouble.{command}").write_text("\n".join(lines))


@pytest.fixture
def pbs_site():
    """A PBS without jobs."""
    with PbsSite() as site:
        yield site
