"""Is recent text drawn from where the reference was? Jensen-Shannon distance, judged by permuting whole documents.

Distance: the square root of the Jensen-Shannon divergence in bits, 0..1 (Lin, "Divergence measures based on the Shannon
entropy", IEEE Trans. Inf. Theory 37, 1991; a metric by Endres and Schindelin 2003). A fixed threshold on it alarms at
small samples whatever happens, so its p-value comes from permutations (Phipson and Smyth, "Permutation p-values should
never be zero", 2010): how often is the distance as large when the same documents are dealt to the two sides at random?

Documents are dealt, not words: the words of one text come together. They are dealt within their profile, and the
distances of the profiles, each in standard deviations of its own permutations, are added up: the luck of the mix is
neither drift nor noise, and a profile of long texts does not drown the others (measured on a mix of five profiles with
half of the window drifted: 3.6 standard deviations at the median, 3.0 with all words in one heap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
PERMUTATIONS = 1000
FIRST_LOOK = 200  # permutations that are enough where nothing is near an alarm
_PIECE = 8  # rows; 8 x 160 documents x 128 buckets is below OpenBLAS's 262,144 for threads
FEWEST = 4  # documents of a profile on either side; rarer profiles are dealt together


@dataclass(frozen=True, slots=True)
class Comparison:
    """The distance of two samples of documents, 0..1 (the mean over profiles, by their share of the window), and its
    permutation p-value, at least 1 / (1 + permutations).
    """

    distance: float
    p_value: float


def compare(reference: Matrix, recent: Matrix, profiles: Sequence[str], seed: int) -> Comparison:
    """Word counts of the reference and of recent documents, one row each; `profiles` names those of both, in order.

    A first look at 200 permutations is followed by 1,000 fresh ones only where it comes near an alarm.
    """
    first = permuted(reference, recent, profiles, seed, FIRST_LOOK)
    if first.p_value > 0.02:
        return first
    return permuted(reference, recent, profiles, seed + 1_000_003, PERMUTATIONS)


def permuted(reference: Matrix, recent: Matrix, profiles: Sequence[str], seed: int, permutations: int) -> Comparison:
    """The comparison with so many permutations. No profile on both sides: distance 0, p-value 1."""
    documents = np.concatenate((reference, recent))
    is_recent = np.arange(len(documents)) >= len(reference)
    rng = np.random.default_rng(seed)
    total = np.zeros(permutations + 1)
    distance = weight = 0.0
    for rows in _strata(profiles, len(reference)):
        many = int(is_recent[rows].sum())
        if not 0 < many < len(rows):
            continue
        keys = rng.random((permutations, len(rows)), dtype=np.float32)
        dealt = np.empty((permutations + 1, len(rows)), dtype=np.float32)
        dealt[0] = is_recent[rows]
        dealt[1:] = keys <= np.partition(keys, many - 1, axis=1)[:, many - 1 : many]
        words = _product(dealt, documents[rows])
        distances = _distance(documents[rows].sum(axis=0) - words, words)
        total += (distances - distances[1:].mean()) / max(float(distances[1:].std()), 1e-6)
        distance += many * float(distances[0])
        weight += many
    as_large = int((total[1:] >= total[0] - 1e-6).sum())
    return Comparison(distance / weight if weight else 0.0, (1 + as_large) / (1 + permutations))


def _product(dealt: Matrix, documents: Matrix) -> Matrix:
    """dealt @ documents in pieces so small that BLAS keeps to this thread: its others would fight the load workers."""
    pieces = [dealt[at : at + _PIECE] @ documents for at in range(0, len(dealt), _PIECE)]
    return np.concatenate(pieces)


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
