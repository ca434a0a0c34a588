"""Logistic regression on a few features, by Newton's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_RIDGE = 1e-3
_STEPS = 25


def logistic(features: Doubles, target: Doubles, importance: Doubles) -> Doubles:
    """Intercept and weights [1 + d] for `features[n, d]` and `target[n]` of 0 to 1; `importance[n]` sums to anything.

    A squared penalty holds the weights, of features scaled to a spread of 1.
    """
    mean, spread = features.mean(0), features.std(0) + 1e-9
    design = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    weight = importance / importance.sum()
    found = np.zeros(design.shape[1])
    ridge = np.diag([0.0, *[_RIDGE] * features.shape[1]])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (weight * (p - target)) + ridge @ found
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + ridge + 1e-9 * np.eye(len(found))
        found -= np.linalg.solve(hessian, gradient)
    weights = found[1:] / spread
    return np.array([found[0] - float(weights @ mean), *weights])
