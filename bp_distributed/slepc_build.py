# SPDX-License-Identifier: BSD-3-Clause
"""PETSc, SLEPc and their Python bindings, built once per user without root: ``bpd slepc-build``.

PyPI has them as sources only, and no BLAS for C.  The BLAS is that of the ``scipy-openblas32`` wheel, whose names
begin with ``scipy_``; a shim of jumps gives it the plain names.  MPI is that of the environment, so that
``mpi4py`` and PETSc share one.  Where ``slepc4py`` can be imported already, as from conda-forge, nothing is built.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bp_distributed.errors import InfrastructureError

MARKER = "ready"
JUMP = {"x86_64": "jmp scipy_{name}@PLT", "aarch64": "b scipy_{name}"}
CONFIGURE = (
    "--with-cc=mpicc", "--with-cxx=0", "--with-fc=0", "--with-debugging=0", "--with-shared-libraries=1", "--with-x=0",
    "--with-hwloc=0", "--with-ssl=0", "--with-cuda=0", "--with-hip=0", "COPTFLAGS=-O2",
)  # fmt: skip
SOURCES = ("petsc", "slepc", "petsc4py", "slepc4py")
CURE = "build it once with 'bpd slepc-build' (about 8 minutes on 2 cores), or install slepc4py from conda-forge"

Say = Callable[[str], None]


@dataclass(frozen=True)
class SlepcHome:
    """What a child needs: ``site`` goes to its PYTHONPATH; None if ``slepc4py`` can be imported as it is."""

    site: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """Return the additions to a child's environment."""
        if self.site is None:
            return {}
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH")]))}


def slepc_home() -> SlepcHome:
    """Return where SLEPc is.

    Raises
    ------
    InfrastructureError
        ``slepc_missing`` if it is neither installed nor built; the sentence names the cure.
    """
    if _importable():
        return SlepcHome(None)
    home = _home()
    if not (home / MARKER).exists():
        raise InfrastructureError("slepc_missing", f"SLEPc is not installed; {CURE}", str(home))
    return SlepcHome(home / "site")


def build(say: Say) -> SlepcHome:
    """Build PETSc and SLEPc into the user's cache, unless they are there.

    Parameters
    ----------
    say : callable
        Receives one line per phase.

    Raises
    ------
    InfrastructureError
        ``slepc_build``, naming what is missing, or the phase that failed and its log.
    """
    if _importable():
        return slepc_home()
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with _alone(home.with_name(f"{home.name}.lock"), say):
        if not (home / MARKER).exists():
            _check_compilers()
            shutil.rmtree(home, ignore_errors=True)  # of a build that was interrupted
            try:
                _Build(home, say).run()
            except InfrastructureError:
                shutil.rmtree(home, ignore_errors=True)  # the log lies beside it
                raise
    return slepc_home()


def _importable() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("petsc4py", "slepc4py"))


def _home() -> Path:
    """Return the folder of this recipe, interpreter, MPI and machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = hashlib.sha256("\n".join([_lock(), *CONFIGURE]).encode()).hexdigest()[:8]
    key = "-".join([f"slepc{_locked_version('slepc')}", str(sys.implementation.cache_tag), _mpi(), platform.machine()])
    return cache / "bp_distributed" / "slepc" / f"{key}-{recipe}"


def _lock() -> str:
    return (Path(__file__).parent / "templates" / "slepc-lock.txt").read_text(encoding="utf-8")


def _locked_version(name: str) -> str:
    return _lock().split(f"\n{name}==")[1].split()[0]


def _mpi() -> str:
    """Return a word for the MPI that programs are compiled against."""
    try:
        return f"mpich{importlib.metadata.version('mpich')}"
    except importlib.metadata.PackageNotFoundError:
        compiler = shutil.which("mpicc") or "none"
        return f"mpi{hashlib.sha256(str(Path(compiler).resolve()).encode()).hexdigest()[:8]}"


def _check_compilers() -> None:
    path = _path()
    missing = [name for name in ("mpicc", "make", "nm") if shutil.which(name, path=path) is None]
    if shutil.which("gcc", path=path) is None and shutil.which("cc", path=path) is None:
        missing.append("gcc")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        missing.append("Python.h")
    if platform.machine() not in JUMP:
        missing.append(f"support for {platform.machine()}")
    if missing:
        cure = "on Debian: apt-get install gcc make python3-dev; mpicc comes with: pip install mpich"
        raise InfrastructureError("slepc_build", f"cannot build SLEPc without {', '.join(missing)}; {cure}")


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@contextmanager
def _alone(path: Path, say: Say) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when its holder dies."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process builds SLEPc ({path}); waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Build:
    """One build, in place, because libraries remember where they lie; the marker file makes it valid."""

    def __init__(self, home: Path, say: Say) -> None:
        self._home, self._say = home, say
        self._prefix, self._site, self._work = home / "prefix", home / "site", home / "work"
        self._tools = self._work / "tools"
        self._log = home.with_name(f"{home.name}.log")
        self._started = time.monotonic()

    def run(self) -> None:
        self._work.mkdir(parents=True)
        self._log.write_text("", encoding="utf-8")
        self._say(f"building SLEPc into {self._home}; log: {self._log}")
        self._fetch()
        self._blas()
        self._petsc()
        self._slepc()
        self._bindings()
        self._try()
        shutil.rmtree(self._work)
        for needed_to_build_only in ("include", "share"):
            shutil.rmtree(self._prefix / needed_to_build_only)
        (self._home / MARKER).touch()
        self._say(f"{self._elapsed()} done")

    def _fetch(self) -> None:
        tools, sources = _lock().split("# sources\n")
        (self._work / "tools.txt").write_text(tools, encoding="utf-8")
        (self._work / "sources.txt").write_text(sources, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        only = ["--no-deps", "--require-hashes"]
        wheels = ["--only-binary", ":all:", "--target", str(self._tools), "-r", "tools.txt"]
        self._call("fetch the build tools", [*pip, "install", *only, *wheels])
        packed = ["--no-binary", ":all:", "--no-build-isolation", "-d", "packed", "-r", "sources.txt"]
        self._call("fetch the sources", [*pip, "download", *only, *packed], PYTHONPATH=str(self._tools))
        for archive in sorted((self._work / "packed").glob("*.tar.gz")):
            shutil.unpack_archive(archive, self._work)  # its hash is known, so no filter is needed

    def _blas(self) -> None:
        library = self._prefix / "lib"
        library.mkdir(parents=True)
        shutil.copy(self._tools / "scipy_openblas32" / "lib" / "libscipy_openblas.so", library)
        listing = self._call("name the BLAS", ["nm", "-D", "--defined-only", str(library / "libscipy_openblas.so")])
        symbols = [line.split()[-1] for line in listing.splitlines() if " T scipy_" in line]
        names = [
            symbol.removeprefix("scipy_") for symbol in symbols if symbol.endswith("_") and "LAPACKE" not in symbol
        ]
        jump = JUMP[platform.machine()]
        body = [f".globl {name}\n.type {name},%function\n{name}: {jump.format(name=name)}" for name in names]
        lines = [".text", *body, '.section .note.GNU-stack,"",%progbits', ""]
        (self._work / "shim.s").write_text("\n".join(lines), encoding="utf-8")
        options = ["-shared", "-o", str(library / "libbpdlapack.so"), "shim.s", f"-L{library}", "-lscipy_openblas"]
        self._call("link the BLAS", ["mpicc", *options, "-Wl,-rpath,$ORIGIN"])

    def _petsc(self) -> None:
        folder, library = self._source("petsc"), self._prefix / "lib"
        blas = f"--with-blaslapack-lib=-L{library} -Wl,-rpath,{library} -lbpdlapack -lscipy_openblas"
        here = {"PETSC_DIR": str(folder), "PETSC_ARCH": "bpd"}
        command = [sys.executable, "./configure", f"--prefix={self._prefix}", *CONFIGURE, blas]
        self._call("configure PETSc", command, folder, **here)
        self._call("compile PETSc (several minutes)", self._make("all"), folder, **here)
        self._call("install PETSc", ["make", "install"], folder, **here)

    def _slepc(self) -> None:
        folder = self._source("slepc")
        here = {"PETSC_DIR": str(self._prefix), "SLEPC_DIR": str(folder)}
        self._call("configure SLEPc", [sys.executable, "./configure", f"--prefix={self._prefix}"], folder, **here)
        self._call("compile SLEPc", self._make(), folder, **here)
        self._call("install SLEPc", ["make", "install"], folder, **here)

    def _bindings(self) -> None:
        for name in ("petsc4py", "slepc4py"):
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-build-isolation"]
            command = [*pip, "--no-deps", "--no-index", "--target", str(self._site), str(self._source(name))]
            self._call(
                f"compile {name}", command, CFLAGS="-O0", PETSC_DIR=str(self._prefix), SLEPC_DIR=str(self._prefix),
                PYTHONPATH=os.pathsep.join([str(self._tools), str(self._site)]),
            )  # fmt: skip

    def _try(self) -> None:
        code = "from mpi4py import MPI; from slepc4py import SLEPc; print(SLEPc.Sys.getVersion())"
        self._call("try it", [sys.executable, "-c", code], self._home, PYTHONPATH=str(self._site), UCX_TLS="self")

    def _source(self, name: str) -> Path:
        return self._work / f"{name}-{_locked_version(name)}"

    @staticmethod
    def _make(*targets: str) -> list[str]:
        cores = len(os.sched_getaffinity(0))
        return ["make", f"-j{cores}", f"MAKE_NP={cores}", *targets]

    def _elapsed(self) -> str:
        return f"[{time.monotonic() - self._started:4.0f} s]"

    def _call(self, phase: str, command: Sequence[str], folder: Path | None = None, **environment: str) -> str:
        """Run one command of the build and return what it prints; the log keeps it."""
        self._say(f"{self._elapsed()} {phase}")
        done = subprocess.run(
            command, cwd=folder or self._work, env=_environment(environment), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"\n==== {self._elapsed()} {phase}: {' '.join(command)}\n{done.stdout}")
        if done.returncode:
            last = next((line.strip() for line in reversed(done.stdout.splitlines()) if line.strip()), "no message")
            what = f"building SLEPc failed at '{phase}': {last[:200]}; the whole log: {self._log}"
            raise InfrastructureError("slepc_build", what, str(self._log))
        return done.stdout


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a build: the user's, without what would lead PETSc elsewhere."""
    strange = ("PETSC", "SLEPC", "PYTHON", "MAKE", "MFLAGS", "CFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX", "FC", "F77")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    return {**kept, "PATH": _path(), "OMP_NUM_THREADS": "1", **additions}
