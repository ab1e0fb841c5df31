# SPDX-License-Identifier: BSD-3-Clause
"""H applied to 32 vectors at 19 652 atoms, against the limit of this machine, measured in the same run.

The limit is the larger of two times: the product's arithmetic at the speed of a large matrix product (BLAS), and
its unavoidable traffic (factors and vectors, each once) at the bandwidth of a triad.  ``ratio`` is the fraction
of the limit reached.
"""

import statistics
import time
from collections.abc import Callable

import numba
import numpy as np

from benchmarks._glass import glass
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian

N_VECTORS = 32
REPEATS = 9
EDGE = 3000  # of the matrices multiplied


@numba.njit(parallel=True)
def _triad(a, b, c):
    for i in numba.prange(len(a)):
        a[i] = b[i] + 2.0 * c[i]


def _best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _measured(hessian: FactoredHessian) -> dict[str, float]:
    rng, number = np.random.default_rng(0), hessian.dtype
    u, out = rng.normal(size=(2, hessian.size, N_VECTORS)).astype(number)
    square = rng.normal(size=(EDGE, EDGE)).astype(number)
    flop = (
        2.0
        * N_VECTORS
        * (9 * (len(hessian.column_p) + hessian.n_atoms) + 6 * (len(hessian.gather_qc) + hessian.n_atoms))
    )
    traffic = hessian.bytes_per_atom * hessian.n_atoms + 2.0 * u.nbytes
    long = [np.ones(20_000_000, number) for _ in range(3)]
    _triad(*long)
    hessian.apply(u, out)
    product = _best(lambda: hessian.apply(u, out))
    gemm = 2.0 * EDGE**3 / _best(lambda: square @ square)
    bandwidth = 3.0 * long[0].nbytes / _best(lambda: _triad(*long))
    limit = max(flop / gemm, traffic / bandwidth)
    return {
        "product_s": product,
        "limit_s": limit,
        "fraction": limit / product,
        "gflop_per_s": flop / product / 1e9,
        "gemm_gflop_per_s": gemm / 1e9,
        "triad_gb_per_s": bandwidth / 1e9,
        "arithmetic_s": flop / gemm,
        "traffic_s": traffic / bandwidth,
    }


def run() -> dict[str, object]:
    """Measure product, matrix product and triad for both types of number."""
    sample, potential = glass(19652)
    hessian = factored_hessian(sample, potential)
    double, single = _measured(hessian), _measured(hessian.astype(np.float32))
    detail = {"n_atoms": sample.n_atoms, "n_vectors": N_VECTORS, "float64": double, "float32": single, "target": 0.5}
    return {
        "row": "operator_limit",
        "ours": double["product_s"],
        "peer": double["limit_s"],
        "ratio": double["fraction"],
        "unit": "s",
        "detail": detail,
    }
