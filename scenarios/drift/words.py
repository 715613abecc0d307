"""Is recent text drawn from where the reference was? Jensen-Shannon distance, judged by permuting whole documents.

Distance: the square root of the Jensen-Shannon divergence in bits, 0..1 (Lin, "Divergence measures based on the Shannon
entropy", IEEE Trans. Inf. Theory 37, 1991; a metric by Endres and Schindelin 2003). A fixed threshold on it alarms at
small samples whatever happens, so its p-value comes from permutations (Phipson and Smyth, "Permutation p-values should
never be zero", 2010): how often is the distance as large when the same documents are dealt to the two sides at random?

Documents are dealt, not words: the words of one text come together. They are dealt within their profile, and the
reference is weighted to the profile mix of the window, so that the luck of the mix is neither drift nor noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
PERMUTATIONS = 1000
FEWEST = 4  # documents of a profile on either side; rarer profiles are dealt together


@dataclass(frozen=True, slots=True)
class Comparison:
    """The distance of two samples of documents, 0..1, and its permutation p-value, at least 1 / (1 + permutations)."""

    distance: float
    p_value: float


def compare(
    reference: Matrix, recent: Matrix, profiles: Sequence[str], seed: int, permutations: int = PERMUTATIONS
) -> Comparison:
    """Word counts of the reference and of recent documents, one row each; `profiles` names those of both, in order."""
    documents = np.concatenate((reference, recent))
    strata = _strata(profiles, len(reference))
    is_recent = np.arange(len(documents)) >= len(reference)
    dealt = np.zeros((permutations + 1, len(documents)), dtype=np.float32)
    dealt[0] = is_recent
    weight = np.zeros(len(documents), dtype=np.float32)
    rng = np.random.default_rng(seed)
    for rows in strata:
        many = int(is_recent[rows].sum())
        keys = rng.random((permutations, len(rows)), dtype=np.float32)
        if 0 < many < len(rows):
            weight[rows] = many / (len(rows) - many)
            cut = np.partition(keys, many - 1, axis=1)[:, many - 1 : many]
            dealt[1:, rows] = keys <= cut
        else:
            dealt[1:, rows] = is_recent[rows]
    weighted = documents * weight[:, None]
    distances = _distance(weighted.sum(axis=0) - dealt @ weighted, dealt @ documents)
    as_large = int((distances[1:] >= distances[0] - 1e-7).sum())
    return Comparison(float(distances[0]), (1 + as_large) / (1 + permutations))


def _strata(profiles: Sequence[str], n_reference: int) -> list[npt.NDArray[np.intp]]:
    names, codes = np.unique(np.asarray(profiles), return_inverse=True)
    before = np.bincount(codes[:n_reference], minlength=len(names))
    after = np.bincount(codes[n_reference:], minlength=len(names))
    rare = (before < FEWEST) | (after < FEWEST)
    groups = [np.flatnonzero(codes == code) for code in np.flatnonzero(~rare)]
    rest = np.flatnonzero(rare[codes])
    return [*groups, rest] if len(rest) else groups


def _distance(one: Matrix, other: Matrix) -> Matrix:
    """Jensen-Shannon distance of each row of `one` to that row of `other`; rows are counts, scaled to sum 1 here."""
    p = np.maximum(one, 0) / np.maximum(one.sum(axis=1, keepdims=True), 1e-6)
    q = np.maximum(other, 0) / np.maximum(other.sum(axis=1, keepdims=True), 1e-6)
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.asarray(np.sqrt(np.clip(divergence, 0, 1)), dtype=np.float32)


def _entropy(p: Matrix) -> Matrix:
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(axis=1), dtype=np.float32)
