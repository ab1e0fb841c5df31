# SPDX-License-Identifier: BSD-3-Clause
"""Only who holds the session's certificate may speak to the scheduler (reliability.md, S01-S04, S09-S11)."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from bp_distributed import tls as tls_module
from bp_distributed.errors import ConfigError, SchedulerDiedError, StoreError
from bp_distributed.scheduler import host_of, scheduler_process
from bp_distributed.tls import KEY_FILE, drop_keys, make_keys, security, time_left


@pytest.fixture
def running(tmp_path):
    tls = make_keys(tmp_path, 1)
    with scheduler_process(tmp_path, tls, "127.0.0.1") as scheduler:
        yield scheduler, tls


@contextmanager
def connected(address, keys):
    with Client(address, security=keys, set_as_default=False, timeout=5) as client:
        yield client


def listeners(pid):
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {c.laddr.ip for process in tree for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_the_owner_is_let_in_and_everything_listens_on_the_loopback(running):
    scheduler, tls = running
    with connected(scheduler.address, security(tls)) as client:
        assert client.run_on_scheduler(os.getpid) == scheduler.process.pid
    assert scheduler.address.startswith("tls://127.0.0.1:")
    assert listeners(scheduler.process.pid) == {"127.0.0.1"}


@pytest.mark.parametrize("intruder", ["tcp", "no certificate", "another authority"])
def test_strangers_are_refused(running, intruder, tmp_path):
    scheduler, _ = running
    address, keys = scheduler.address, Security(require_encryption=True)
    if intruder == "tcp":
        address, keys = address.replace("tls://", "tcp://"), None
    if intruder == "another authority":
        keys = security(make_keys(tmp_path / "stranger", 1))
    canary = tmp_path / "canary"
    begin = time.monotonic()
    with pytest.raises((OSError, TypeError, ValueError)), connected(address, keys) as client:
        client.run_on_scheduler(canary.touch)
    assert time.monotonic() - begin < 10
    assert not canary.exists()


def test_raw_bytes_do_no_harm(running):
    scheduler, tls = running
    host, port = scheduler.address.removeprefix("tls://").split(":")
    # A reset is an answer too.
    with socket.create_connection((host, int(port)), timeout=5) as connection, suppress(ConnectionResetError):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
        assert b"HTTP/1.1 200" not in connection.recv(1000)
    with connected(scheduler.address, security(tls)) as client:
        assert client.nthreads() == {}


def test_a_worker_with_a_foreign_certificate_never_joins(running, tmp_path):
    scheduler, tls = running
    foreign = make_keys(tmp_path / "stranger", 1)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler.address, "--no-dashboard", "--no-nanny",
               "--death-timeout", "4", "--tls-ca-file", str(foreign / "ca.pem"),
               "--tls-cert", str(foreign / "certificate.pem"), "--tls-key", str(foreign / KEY_FILE)]  # fmt: skip
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        with connected(scheduler.address, security(tls)) as client:
            worker.wait(timeout=60)
            assert client.nthreads() == {}
    finally:
        worker.kill()
        worker.wait()


def test_keys_are_private_whatever_the_umask_and_go_with_the_session(tmp_path):
    before = os.umask(0)
    try:
        first = make_keys(tmp_path, 1)
        second = make_keys(tmp_path, 2)
    finally:
        os.umask(before)
    assert not first.exists(), "keys of a dead driver are removed at the next start"
    assert stat.S_IMODE(second.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in second.iterdir()} == {0o600}
    assert not any(b"PRIVATE" in path.read_bytes() for path in second.iterdir() if path.name != KEY_FILE)
    drop_keys(tmp_path, 1)
    assert second.exists(), "a superseded driver leaves the keys of its successor"
    drop_keys(tmp_path, 2)
    assert not (tmp_path / "tls").exists()


def test_a_key_that_others_may_read_is_refused(tmp_path):
    folder = make_keys(tmp_path, 1)
    (folder / KEY_FILE).chmod(0o640)
    with pytest.raises(StoreError, match="must belong to you alone"):
        security(folder)


def test_no_key_is_in_the_process_list(running):
    scheduler, tls = running
    secret = (tls / KEY_FILE).read_text().splitlines()[1]
    process = psutil.Process(scheduler.process.pid)
    assert secret not in " ".join(process.cmdline())
    assert secret not in " ".join(process.environ().values())


def test_certificates_hold_for_clocks_half_a_day_apart(tmp_path):
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate((make_keys(tmp_path, 1) / "certificate.pem").read_bytes())
    margin = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert margin == tls_module.LIFE + tls_module.BACKDATED
    assert tls_module.LIFE.days - 1 <= time_left(tmp_path / "tls" / "1").days <= tls_module.LIFE.days


def test_the_death_of_the_scheduler_is_told_in_one_sentence(running):
    scheduler, _ = running
    scheduler.check()
    scheduler.process.kill()
    scheduler.process.wait()
    with pytest.raises(SchedulerDiedError, match=r"the Dask scheduler died \(signal 9; see .*scheduler.log\)"):
        scheduler.check()
    assert SchedulerDiedError.exit_code == 5


def test_the_scheduler_dies_with_its_driver(tmp_path):
    make_keys(tmp_path, 1)
    code = (
        "import sys, time; from pathlib import Path; from bp_distributed.scheduler import scheduler_process\n"
        f"with scheduler_process(Path({str(tmp_path)!r}), Path({str(tmp_path / 'tls' / '1')!r}), '127.0.0.1') as s:\n"
        "    print(s.process.pid, flush=True); time.sleep(60)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert list((tmp_path / "lock").glob("scheduler-*.json")), "it was not given time to tidy up"


def test_an_unknown_interface_is_named(tmp_path):
    assert host_of(None) == host_of("lo") == "127.0.0.1"
    with pytest.raises(ConfigError, match=r"got 'ib7', expected one of .*lo"):
        host_of("ib7")


def test_ports_of_a_bare_local_cluster_are_why_we_give_addresses():
    """S05: Dask's own default; should it change upstream, this test says so."""
    from distributed import LocalCluster

    async def dashboard():
        async with LocalCluster(n_workers=0, asynchronous=True, dashboard_address=":0") as cluster:
            return listeners(os.getpid()), cluster.scheduler_address

    addresses, _ = asyncio.run(dashboard())
    assert "0.0.0.0" in addresses  # noqa: S104 - that is what is shown


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_gets_neither_keys_nor_answers(running, tmp_path):
    """S02."""
    scheduler, tls = running
    code = (
        "import os, sys; from pathlib import Path\n"
        "from distributed import Client; from distributed.security import Security\n"
        "from bp_distributed.tls import security\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"try:\n    security(Path({str(tls)!r}))\nexcept PermissionError:\n    print('no keys')\n"
        f"try:\n    Client({scheduler.address!r}, security=Security(require_encryption=True), timeout=5)\n"
        "except (OSError, TypeError):\n    print('no answer')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split("\n")[:2] == ["no keys", "no answer"]
