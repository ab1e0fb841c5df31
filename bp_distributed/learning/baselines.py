# SPDX-License-Identifier: BSD-3-Clause
"""Models that a network has to beat before it deserves to be called good.

Each is a function ``(features_sf, target_s, unit_s, features_tf, seed) -> predicted_t``: it learns from samples ``s`` and
predicts samples ``t``.  What it has to choose (a penalty, a number of components) it chooses by cross-validation over
the units ``unit_s`` (melts, or single samples) of what it learns from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.scaling import Scaler
from bp_distributed.learning.splits import group_folds, single_samples

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-2, 6, 17))
COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Tried by partial least squares."""
PRINCIPAL = 20
"""Principal components that the Gaussian process sees."""
KERNEL_SAMPLES = 400
"""Samples from which its length and noise are found; all samples then stand in the covariance."""
INNER_FOLDS = 5

Floats = NDArray[np.float64]
Names = NDArray[np.str_]
Predict = Callable[[Floats, Floats, Names, Floats, int], Floats]


def mean(features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int) -> Floats:  # noqa: ARG001
    """Say the mean of what was learned from."""
    return np.full(len(features_tf), target_s.mean())


def line(features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int) -> Floats:  # noqa: ARG001
    """Fit a straight line (a plane, for several features) without penalty."""
    x = Scaler.fitted(features_sf)
    weights, *_ = np.linalg.lstsq(np.column_stack([np.ones(len(features_sf)), x.forward(features_sf)]), target_s)
    return np.asarray(np.column_stack([np.ones(len(features_tf)), x.forward(features_tf)]) @ weights)


def ridge(features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int) -> Floats:
    """Fit a line with a penalty on standardised features."""
    x = Scaler.fitted(features_sf)
    scaled_sf, scaled_tf = x.forward(features_sf), x.forward(features_tf)
    fold_s = _inner_folds(unit_s, seed)
    square_a = np.zeros(len(ALPHAS))
    for fold in np.unique(fold_s):
        learn_s, left_s = fold_s != fold, fold_s == fold
        found_at = _ridge_path(scaled_sf[learn_s], target_s[learn_s], scaled_sf[left_s], ALPHAS)
        square_a += ((found_at - target_s[left_s]) ** 2).mean(axis=1)
    return np.asarray(_ridge_path(scaled_sf, target_s, scaled_tf, [ALPHAS[int(square_a.argmin())]])[0])


def _ridge_path(features_sf: Floats, target_s: Floats, features_tf: Floats, alphas: Sequence[float]) -> Floats:
    """Return predictions for every penalty from one decomposition, shape=(n_alphas, n_predicted)."""
    middle_f, level = features_sf.mean(axis=0), target_s.mean()
    left_sk, size_k, right_kf = np.linalg.svd(features_sf - middle_f, full_matrices=False)
    along_k = left_sk.T @ (target_s - level)
    score_tk = (features_tf - middle_f) @ right_kf.T
    shrunk_ak = size_k * along_k / (size_k**2 + np.asarray(alphas)[:, None])
    return np.asarray(level + shrunk_ak @ score_tk.T)


def partial_least_squares(
    features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int
) -> Floats:
    """Fit a line in the directions of the features that go with the target."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import GridSearchCV

    x = Scaler.fitted(features_sf)
    scaled_sf = x.forward(features_sf)
    rank = int(np.linalg.matrix_rank(scaled_sf)) - 1
    folds = _inner(unit_s, seed)
    rank = min(rank, *(int((folds.test_fold != fold).sum()) - 1 for fold in np.unique(folds.test_fold)))
    counts = [count for count in COMPONENTS if count <= max(rank, 1)]
    search = GridSearchCV(
        PLSRegression(scale=False), {"n_components": counts}, cv=folds, scoring="neg_mean_squared_error"
    )
    search.fit(scaled_sf, target_s)
    return np.asarray(search.predict(x.forward(features_tf))).reshape(-1)


def gaussian_process(features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int) -> Floats:  # noqa: ARG001
    """Fit a Gaussian process on principal components; its length and noise maximise the marginal likelihood."""
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    x, y = Scaler.fitted(features_sf), Scaler.fitted(target_s[:, None])
    few = min(PRINCIPAL, len(features_sf) - 1, features_sf.shape[1])
    components = PCA(few, svd_solver="full").fit(x.forward(features_sf))
    scores_s, scores_t = components.transform(x.forward(features_sf)), components.transform(x.forward(features_tf))
    size = float(np.sqrt((scores_s**2).sum(axis=1).mean())) or 1.0
    scaled_s = y.forward(target_s[:, None])[:, 0]
    kernel = (
        ConstantKernel(1.0, (1e-3, 1e3)) * RBF(1.0, (0.05, 1e3))
        + ConstantKernel(1.0, (1e-6, 1e3)) * DotProduct(0.1, "fixed")
        + WhiteKernel(0.1, (1e-4, 1e2))
    )
    chosen = np.random.default_rng(seed).permutation(len(scaled_s))[:KERNEL_SAMPLES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is a straight line: no fault
        first = GaussianProcessRegressor(kernel, random_state=seed).fit(scores_s[chosen] / size, scaled_s[chosen])
        model = GaussianProcessRegressor(first.kernel_, optimizer=None).fit(scores_s / size, scaled_s)
    return np.asarray(y.back(model.predict(scores_t / size)[:, None])[:, 0])


def boosting(features_sf: Floats, target_s: Floats, unit_s: Names, features_tf: Floats, seed: int) -> Floats:  # noqa: ARG001
    """Add up small regression trees; their number is fixed, small steps and large leaves keep them from learning noise."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    leaf = int(np.clip(len(features_sf) // 20, 3, 20))
    model = HistGradientBoostingRegressor(
        learning_rate=0.06, max_iter=200, max_leaf_nodes=15, min_samples_leaf=leaf, l2_regularization=1.0,
        max_features=0.3, early_stopping=False, random_state=seed,
    )  # fmt: skip
    model.fit(features_sf, target_s)
    return np.asarray(model.predict(features_tf))


MODELS: dict[str, Predict] = {
    "mean": mean,
    "line": line,
    "ridge": ridge,
    "pls": partial_least_squares,
    "gaussian_process": gaussian_process,
    "boosting": boosting,
}


def _inner_folds(unit_s: Names, seed: int) -> NDArray[np.intp]:
    """Return the inner fold of every sample; units of one name stay together, if there are several."""
    names = unit_s if len(np.unique(unit_s)) > 1 else single_samples(len(unit_s))
    return group_folds(names, min(INNER_FOLDS, len(np.unique(names))), seed)


def _inner(unit_s: Names, seed: int) -> Any:
    """Return the inner folds as scikit-learn wants them."""
    from sklearn.model_selection import PredefinedSplit

    return PredefinedSplit(_inner_folds(unit_s, seed))
