# SPDX-License-Identifier: BSD-3-Clause
"""The Dask dashboard: where to open it, and the settings that leave nothing on it to misuse."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bp_distributed.errors import StoreError
from bp_distributed.lock import live_owner

_ORIGINS = "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin"
SAFE_ROUTES: dict[str, Any] = {
    "distributed.scheduler.http.routes": [
        "distributed.http.health",
        "distributed.http.scheduler.prometheus",
        "distributed.http.scheduler.info",
        "distributed.http.scheduler.json",
        "distributed.http.statics",
    ],
}
"""Dask settings without the routes that act (``api``) or reach other hosts (``proxy``).  The dashboard has no
password, so it listens on the loopback only."""


def dashboard_settings(port: int) -> dict[str, Any]:
    """Return the Dask settings of a safe dashboard: :data:`SAFE_ROUTES`, and no data for pages of other sites.

    Parameters
    ----------
    port : int
        The dashboard's; Bokeh compares it, and knows no pattern for it.  A tunnel keeps the number.

    Returns
    -------
    dict
        With the names in ``BPD_DASHBOARD_ORIGINS`` too, separated by commas: a Jupyter server that passes the dashboard
        on needs its own as the browser shows it, such as ``hub.site.edu`` or ``localhost:8888``.
    """
    sites = [name.strip() for name in os.environ.get("BPD_DASHBOARD_ORIGINS", "").split(",")]
    return SAFE_ROUTES | {_ORIGINS: [f"localhost:{port}", f"127.0.0.1:{port}", *filter(None, sites)]}


def free_port() -> int:
    """Return a port of the loopback that nobody listens on; the origins have to name it before it is opened."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Link:
    """How to open the dashboard from here."""

    url: str
    tunnel: str = ""
    """Command to run on the machine of the browser first; empty if none is needed."""

    def __str__(self) -> str:
        """Return what to tell a person."""
        return f"run on your own machine:  {self.tunnel}\nthen open {self.url}" if self.tunnel else self.url


def dashboard_link(root: Path, environment: Mapping[str, str] = os.environ) -> Link:
    """Return how to open the dashboard of the driver at work.

    Parameters
    ----------
    root : Path
        Campaign folder.
    environment : mapping
        Tells whether this is a JupyterHub, a Jupyter server or a shell behind SSH.

    Raises
    ------
    StoreError
        If no driver is at work, or it serves no dashboard.
    """
    driver = live_owner(root)
    if driver is None:
        raise StoreError(str(root), "no driver is at work here, so there is no dashboard; 'bpd status' shows the rest")
    port, host = _port(root, driver), str(driver["host"])
    if port is None:
        raise StoreError(str(root), "its driver serves no dashboard (yet); 'bpd status' shows the rest")
    here = host == socket.gethostname()
    if here and (prefix := _jupyter_prefix(environment)):
        return Link(f"{prefix}proxy/{port}/status")
    url = f"http://127.0.0.1:{port}/status"
    if here and "SSH_CONNECTION" not in environment:
        return Link(url)
    who = shlex.quote(f"{getpass.getuser()}@{host}")
    return Link(url, f"ssh -N -L {port}:127.0.0.1:{port} {who}")


def _port(root: Path, driver: Mapping[str, Any]) -> int | None:
    """Return the port that a driver noted in the first line of its journal."""
    try:
        with (root / "journal" / f"{driver['epoch']:04d}-{driver['pid']}.jsonl").open(encoding="utf-8") as journal:
            return urlsplit(str(json.loads(journal.readline())["dashboard"])).port
    except (OSError, ValueError, KeyError):
        return None


def _jupyter_prefix(environment: Mapping[str, str]) -> str:
    """Return where a Jupyter server that reaches our loopback offers its proxy, or nothing outside Jupyter."""
    if user := environment.get("JUPYTERHUB_USER"):
        return environment.get("JUPYTERHUB_SERVICE_PREFIX", f"/user/{user}/")
    return "/" if "JPY_SESSION_NAME" in environment else ""
