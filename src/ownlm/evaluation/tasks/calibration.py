"""Whether confidence is deserved: reliability bins and expected calibration error (Guo 2017)."""

import numpy as np

from ownlm.evaluation.tasks.figures import Floats
from ownlm.evaluation.tasks.judgement import Bin, Calibration

BINS = 10
"""Of equal width, from 0 to 1."""


def calibrated(confidence: Floats, right: Floats, brier: float | None = None) -> Calibration:
    """From the confidence (N,) of each decision and whether it was right (N,), 0 or 1."""
    at = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)
    count = np.bincount(at, minlength=BINS)
    sure, fine = (np.bincount(at, one, minlength=BINS) for one in (confidence, right))
    bins = tuple(
        Bin(number / BINS, (number + 1) / BINS, int(n), float(sure[number] / n),
            float(fine[number] / n))
        for number, n in enumerate(count)
        if n
    )  # fmt: skip
    apart = sum(one.decisions * abs(one.confidence - one.accuracy) for one in bins)
    return Calibration(bins, float(apart / max(1, len(confidence))), brier)
