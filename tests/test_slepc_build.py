# SPDX-License-Identifier: BSD-3-Clause
"""The build of SLEPc: found or refused with a cure, one builder at a time, hashes, logs, and a BLAS that computes."""

import ctypes
import os
import re
import shutil
import sys
import threading

import numpy as np
import pytest

from bp_distributed import slepc_build
from bp_distributed.errors import InfrastructureError
from bp_distributed.slepc_build import MARKER, SlepcHome, build, slepc_home

USER_CACHE = os.environ.get("XDG_CACHE_HOME")


@pytest.fixture(autouse=True)
def nothing_importable(monkeypatch, tmp_path):
    """An empty cache, and no slepc4py in the environment."""
    monkeypatch.setattr(slepc_build, "_importable", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def quiet(line):
    """Say nothing."""


def pretend_built():
    home = slepc_build._home()
    (home / "site").mkdir(parents=True)
    (home / MARKER).touch()
    return home


def test_a_missing_library_names_its_cure():
    with pytest.raises(InfrastructureError, match=r"not installed; build it once with 'bpd slepc-build'") as caught:
        slepc_home()
    assert caught.value.cause == "slepc_missing"


def test_a_finished_build_is_found_and_an_unfinished_one_is_not(monkeypatch):
    home = pretend_built()
    assert slepc_home().site == home / "site"
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert slepc_home().environment == {"PYTHONPATH": f"{home / 'site'}{os.pathsep}elsewhere"}
    (home / MARKER).unlink()
    with pytest.raises(InfrastructureError, match="slepc-build"):
        slepc_home()


def test_an_environment_that_has_slepc_builds_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(slepc_build, "_importable", lambda: True)
    assert build(pytest.fail) == slepc_home() == SlepcHome(None)
    assert SlepcHome(None).environment == {}
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_an_interrupted_build_is_removed(monkeypatch):
    home = pretend_built()
    (home / MARKER).unlink()
    monkeypatch.setattr(slepc_build, "_check_compilers", lambda: None)
    found = []

    def run(self):
        found.append(home.exists())
        pretend_built()

    monkeypatch.setattr(slepc_build._Build, "run", run)
    assert build(quiet).site == home / "site"
    assert found == [False]


def test_a_failed_build_leaves_its_log_only(monkeypatch):
    monkeypatch.setattr(slepc_build, "_check_compilers", lambda: None)
    monkeypatch.setattr(slepc_build._Build, "_fetch", lambda self: self._call("compile", ["false"]))
    with pytest.raises(InfrastructureError, match="failed at 'compile': no message"):
        build(quiet)
    home = slepc_build._home()
    assert not home.exists()
    assert home.with_name(f"{home.name}.log").exists()


def test_two_builders_take_turns(monkeypatch):
    monkeypatch.setattr(slepc_build, "_check_compilers", lambda: None)
    inside, second_waits, runs = threading.Event(), threading.Event(), []

    def run(self):
        runs.append(1)
        inside.set()
        assert second_waits.wait(10)
        pretend_built()

    monkeypatch.setattr(slepc_build._Build, "run", run)
    first = threading.Thread(target=build, args=[quiet])
    first.start()
    assert inside.wait(10)
    said = []
    build(lambda line: (said.append(line), second_waits.set()))
    first.join()
    assert len(runs) == 1
    assert "another process builds SLEPc" in said[0]


def test_missing_compilers_are_named(monkeypatch):
    monkeypatch.setattr(slepc_build, "_path", lambda: "/nowhere")
    with pytest.raises(
        InfrastructureError, match="cannot build SLEPc without mpicc, make, nm, gcc; on Debian: apt-get"
    ):
        build(quiet)


def test_a_failed_phase_is_one_line_that_names_the_log(tmp_path):
    said = []
    builder = slepc_build._Build(tmp_path / "home", said.append)
    with pytest.raises(InfrastructureError, match="failed at 'compile': it broke; the whole log: ") as caught:
        builder._call("compile", ["sh", "-c", "echo begin; echo it broke >&2; exit 3"], tmp_path)
    assert "\n" not in str(caught.value)
    log = (tmp_path / "home.log").read_text()
    assert "begin\nit broke" in log
    assert str(tmp_path / "home.log") in str(caught.value)
    assert re.fullmatch(r"\[ +\d+ s\] compile", said[0])


def test_the_build_does_not_see_the_users_settings(monkeypatch):
    for name in ("PETSC_DIR", "PETSC_ARCH", "SLEPC_DIR", "CC", "CFLAGS", "MAKEFLAGS", "PYTHONPATH"):
        monkeypatch.setenv(name, "strange")
    environment = slepc_build._environment({"SLEPC_DIR": "ours"})
    assert "strange" not in environment.values()
    assert environment["SLEPC_DIR"] == "ours"


def test_the_key_follows_the_recipe(monkeypatch):
    before = slepc_build._home()
    monkeypatch.setattr(slepc_build, "CONFIGURE", ("--with-debugging=1",))
    assert slepc_build._home() != before


def test_every_download_is_locked():
    entries = re.findall(
        r"^(\S+)==(\S+) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", slepc_build._lock(), re.MULTILINE
    )
    assert len(entries) == slepc_build._lock().count("==")
    assert set(slepc_build.SOURCES) < {name for name, _ in entries}
    assert len({version for name, version in entries if name in slepc_build.SOURCES}) == 1


def test_the_blas_of_the_build_multiplies(monkeypatch):
    """The shim's plain names must reach the routines, with all their arguments."""
    if USER_CACHE is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", USER_CACHE)
    library = slepc_build._home() / "prefix" / "lib" / "libbpdlapack.so"
    if not library.exists():
        pytest.skip(slepc_build.CURE)
    rng = np.random.default_rng(0)
    a, b, c = (np.asfortranarray(rng.normal(size=shape)) for shape in ((3, 4), (4, 5), (3, 5)))
    expected = 2.0 * a @ b + 0.5 * c

    def integer(value):
        return ctypes.byref(ctypes.c_int(value))

    def real(value):
        return ctypes.byref(ctypes.c_double(value))

    def array(values):
        return values.ctypes.data_as(ctypes.c_void_p)

    ctypes.CDLL(str(library)).dgemm_(
        b"N", b"N", integer(3), integer(5), integer(4), real(2.0), array(a), integer(3), array(b), integer(4),
        real(0.5), array(c), integer(3),
    )  # fmt: skip
    np.testing.assert_allclose(c, expected, rtol=1e-14)


def test_the_assembler_accepts_the_shim(tmp_path, monkeypatch):
    """The machine's jump instruction, tried on a library of one routine."""
    if shutil.which("gcc") is None or shutil.which("mpicc", path=slepc_build._path()) is None:
        pytest.skip("no compiler here")
    builder = slepc_build._Build(tmp_path / "home", quiet)
    wheel = tmp_path / "home" / "work" / "tools" / "scipy_openblas32" / "lib"
    wheel.mkdir(parents=True)
    (tmp_path / "blas.c").write_text("int scipy_seven_(int *add) { return 7 + *add; }")
    builder._call("compile", ["gcc", "-shared", "-fPIC", "-o", str(wheel / "libscipy_openblas.so"), "blas.c"], tmp_path)
    builder._blas()
    library = tmp_path / "home" / "prefix" / "lib" / "libbpdlapack.so"
    code = f"import ctypes; print(ctypes.CDLL({str(library)!r}).seven_(ctypes.byref(ctypes.c_int(3))))"
    assert builder._call("call", [sys.executable, "-c", code], tmp_path) == "10\n"
