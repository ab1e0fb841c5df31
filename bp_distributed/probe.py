# SPDX-License-Identifier: BSD-3-Clause
"""``python -m bp_distributed.probe FOLDER``: what a node can do, told to ``bpd doctor`` through the campaign folder.

It runs in a batch job like a worker's.  ``question.json`` lies in the folder already; ``answer.json`` is left in it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.child import mpi_command, run_child, step_command
from bp_distributed.config import default_potential
from bp_distributed.errors import CampaignError, InfrastructureError

PACKAGES = ("bp_distributed", "dask", "distributed", "cloudpickle", "msgpack")
"""Must be the same on both sides, or Dask's messages may not be understood."""

QUESTION, ANSWER = "question.json", "answer.json"
CONNECT_S, STEP_S = 10.0, 120.0
_RANK = """if True:
    import os, socket
    from mpi4py import MPI
    print(MPI.COMM_WORLD.size, os.environ.get("SLURMD_NODENAME", socket.gethostname()))
"""


def versions() -> dict[str, str]:
    """Return the versions of Python and of what both sides of a Dask connection must share."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def clock_offset_s(folder: Path) -> float:
    """Return by how much this machine's clock is ahead of the file server's, seconds."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")
        file.flush()
        return time.time() - Path(file.name).stat().st_mtime


def probe(folder: Path) -> dict[str, Any]:
    """Return the answer: facts, and for each check what it found or what is wrong.

    Parameters
    ----------
    folder : Path
        Holds the question: ``nonce``, and ``address`` (host and port) where whoever connects is told the nonce.
    """
    question = json.loads((folder / QUESTION).read_bytes())
    checks: dict[str, Callable[[], str]] = {
        "connection": lambda: _connect(question),
        "LAMMPS": _lammps,
        "scratch": _scratch,
    }
    if os.environ.get("BPD_LAUNCHER", "[]") != "[]":
        checks["MPI"] = _ranks
    return {
        "nonce": question["nonce"],
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        "job": os.environ.get("BPD_JOB_ID", ""),
        "python": sys.executable,
        "versions": versions(),
        "clock_offset_s": clock_offset_s(folder),
        "checks": {name: _tried(check) for name, check in checks.items()},
    }


def _tried(check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"ok": True, "what": check()}
    except (CampaignError, OSError, ValueError) as error:
        return {"ok": False, "what": str(error)}


def _connect(question: Mapping[str, Any]) -> str:
    """Reach the machine of the driver, and make sure that it is that one."""
    host, port = question["address"]
    with socket.create_connection((host, int(port)), timeout=CONNECT_S) as connection:
        told = connection.recv(100).decode("ascii", "replace")
    if told != question["nonce"]:
        raise InfrastructureError("connection", f"somebody else answers at {host}")
    return f"{host} is reached"


def _lammps() -> str:
    """Run two atoms, as a worker would."""
    potential = default_potential()
    with tempfile.TemporaryDirectory(prefix="bpd-probe-") as name:
        folder = Path(name)
        file = "potential" + "".join(potential.suffixes[-2:])
        (folder / file).write_bytes(potential.read_bytes())
        request = {"elements": ["Cu", "Zr"], "potential_file": file}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        run_child(step_command("dry_run"), folder, STEP_S)
        try:
            verdict = json.loads((folder / "verdict.json").read_bytes())
        except FileNotFoundError:
            raise InfrastructureError("lammps", _last_words(folder)) from None
        if verdict["status"] == "failed":
            raise InfrastructureError("lammps", verdict["message"])
        return f"LAMMPS {verdict['facts']['lammps']} runs"


def _ranks() -> str:
    """Start one rank per node, two at least, and see whether they find each other."""
    nodes = int(os.environ["BPD_NODES"])
    wanted = max(2, nodes)
    with tempfile.TemporaryDirectory(prefix="bpd-probe-") as name:
        folder = Path(name)
        command = mpi_command([sys.executable, "-c", _RANK], wanted, 1, nodes, json.loads(os.environ["BPD_LAUNCHER"]))
        ended = run_child(command, folder, STEP_S, reach="nodes")
        if ended.code or ended.stopped:
            raise InfrastructureError("mpi", ended.stopped or _last_words(folder))
        ranks = [line.split() for line in (folder / "stdout").read_text(encoding="utf-8").splitlines()]
    if [size for size, _ in ranks] != [str(wanted)] * wanted:
        raise InfrastructureError("mpi", f"{wanted} ranks started as {len(ranks)} worlds of {ranks[0][0]}")
    found = len({node for _, node in ranks})
    if found != nodes:
        raise InfrastructureError("mpi", f"the ranks run on {found} of {nodes} nodes")
    return f"{wanted} ranks on {nodes} node{'s' * (nodes > 1)}"


def _last_words(folder: Path) -> str:
    lines = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it left no word"


def _scratch() -> str:
    """Write where workers write."""
    folder = Path.cwd()
    durable.self_test(folder)
    return f"{folder} can be written"


def main(folder: Path) -> None:
    """Answer the question in a folder."""
    durable.replace_json(folder / ANSWER, probe(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
