# SPDX-License-Identifier: BSD-3-Clause
"""The Dask dashboard shows and does nothing else (reliability.md S07, S08), and people are told how to open it."""

import asyncio
import json
import os
import socket
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import dask
import pytest
from distributed import Client, Scheduler, Worker
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from bp_distributed.cluster import local_pool
from bp_distributed.dashboard import dashboard_link, dashboard_settings, free_port
from bp_distributed.errors import StoreError
from bp_distributed.lock import DriverLock
from bp_distributed.store import Journal

EVIL = "<script>alert(1)</script>"


async def answers(port, *paths):
    """Return status and body of pages, asked for from a thread while the scheduler goes on."""

    def get(path):
        try:
            with urlopen(Request(f"http://127.0.0.1:{port}{path}"), timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, ""

    return [await asyncio.to_thread(get, path) for path in paths]


async def websocket(port, path, origin):
    """Return 101 if a page of ``origin`` may open a websocket, or the status of the refusal."""
    request = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers={"Origin": origin})
    try:
        (await websocket_connect(request, subprotocols=["bokeh", "token"])).close()
    except HTTPClientError as error:
        return error.code
    return 101


def with_scheduler(visit):
    """Run a visit to a scheduler with our settings."""

    port = free_port()

    async def serve():
        async with Scheduler(host="127.0.0.1", port=0, dashboard_address=f"127.0.0.1:{port}") as scheduler:
            return await visit(scheduler, scheduler.http_server.port)

    with dask.config.set(dashboard_settings(port)):
        return asyncio.run(serve())


def test_s07_no_route_acts_or_reaches_other_hosts():
    async def visit(scheduler, port):
        return await answers(port, "/health", "/status", "/info/main/workers.html", "/proxy/22/127.0.0.1/status",
                             "/api/v1/retire_workers", "/api/v1/get_workers")  # fmt: skip

    assert [code for code, _ in with_scheduler(visit)] == [200, 200, 200, 404, 404, 404]


def test_s07_pages_of_other_sites_get_no_data():
    async def visit(scheduler, port):
        origins = (f"http://127.0.0.1:{port}", f"http://localhost:{port}", "http://evil.example",
                   f"http://localhost.evil.example:{port}", f"http://evil.example:{port}")  # fmt: skip
        return [await websocket(port, "/status/ws", origin) for origin in origins]

    assert with_scheduler(visit) == [101, 101, 403, 403, 403]


def test_a_hub_may_be_named(monkeypatch):
    monkeypatch.setenv("BPD_DASHBOARD_ORIGINS", "hub.site.example, other.example:8443")

    async def visit(scheduler, port):
        origins = ("https://hub.site.example", "https://other.example:8443", "https://evil.example")
        return [await websocket(port, "/status/ws", origin) for origin in origins]

    assert with_scheduler(visit) == [101, 101, 403]


def test_s07_it_listens_on_the_loopback_only():
    async def visit(scheduler, port):
        return [listener.getsockname()[0] for listener in scheduler.http_server._sockets.values()]

    assert with_scheduler(visit) == ["127.0.0.1"]


def test_s08_names_of_tasks_and_workers_stay_text(tmp_path):
    async def visit(scheduler, port):
        async with (
            Worker(scheduler.address, name=EVIL, nthreads=1, local_directory=str(tmp_path)) as worker,
            Client(scheduler.address, asynchronous=True) as client,
        ):
            future = client.submit(len, "abc", key=EVIL)
            assert await future == 3
            return await answers(port, "/info/main/workers.html", f"/info/worker/{quote(worker.address, safe='')}.html",
                                 f"/info/task/{quote(EVIL, safe='')}.html")  # fmt: skip

    pages = with_scheduler(visit)
    assert [code for code, _ in pages] == [200, 200, 200]
    for _, page in pages:
        assert "&lt;script&gt;alert(1)" in page
        assert EVIL not in page


def test_s07_on_one_machine_too():
    with local_pool(1) as pool:
        port = urlsplit(pool.dashboard).port
        codes = [
            code
            for code, _ in asyncio.run(answers(port, "/health", "/proxy/22/127.0.0.1/status", "/api/v1/get_workers"))
        ]
    assert codes == [200, 404, 404]


@pytest.fixture
def driven(campaign):
    """A campaign with a driver at work here, whose dashboard is on port 4711."""
    campaign.start()
    with DriverLock(campaign.root) as lock:
        Journal(campaign.root, lock.epoch).write("start", slots=1, dashboard="http://127.0.0.1:4711/status")
        yield campaign


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "http://127.0.0.1:4711/status"),
        ({"JPY_SESSION_NAME": "a.ipynb"}, "/proxy/4711/status"),
        ({"JUPYTERHUB_USER": "zoe", "JPY_SESSION_NAME": "a.ipynb"}, "/user/zoe/proxy/4711/status"),
        (
            {"JUPYTERHUB_USER": "zoe", "JUPYTERHUB_SERVICE_PREFIX": "/hub/user/zoe/gpu/"},
            "/hub/user/zoe/gpu/proxy/4711/status",
        ),
    ],
    ids=["this machine", "Jupyter", "JupyterHub", "named server"],
)
def test_the_link(driven, environment, expected):
    assert str(dashboard_link(driven.root, environment)) == expected


def test_behind_ssh_the_exact_command_is_given(driven):
    from getpass import getuser

    link = dashboard_link(driven.root, {"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"})
    assert link.tunnel == f"ssh -N -L 4711:127.0.0.1:4711 {getuser()}@{socket.gethostname()}"
    assert link.url == "http://127.0.0.1:4711/status"
    assert link.tunnel in str(link)


def test_a_driver_on_another_host_needs_a_tunnel_even_from_jupyter(driven, monkeypatch):
    monkeypatch.setattr("bp_distributed.dashboard.socket.gethostname", lambda: "elsewhere")
    assert dashboard_link(driven.root, {"JUPYTERHUB_USER": "zoe"}).tunnel.startswith("ssh -N -L 4711:")


def test_without_driver_or_dashboard_it_says_so(campaign):
    campaign.start()
    with pytest.raises(StoreError, match="no driver is at work"):
        dashboard_link(campaign.root)
    with DriverLock(campaign.root) as lock:
        with pytest.raises(StoreError, match="serves no dashboard"):
            dashboard_link(campaign.root)
        journal = campaign.root / "journal" / f"{lock.epoch:04d}-{os.getpid()}.jsonl"
        journal.write_text(json.dumps({"event": "start", "dashboard": ""}) + "\n")
        with pytest.raises(StoreError, match="serves no dashboard"):
            dashboard_link(campaign.root)
