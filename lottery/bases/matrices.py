"""Orthonormal matrices, (n, n) float64 on the CPU: row i is the basis vector b_i, so that B w has the coefficients.

The same arguments give the same bits whatever the number of threads.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from math import pi, sqrt

import numpy as np
import torch
from torch import Tensor


def dct(n: int) -> Tensor:
    """The DCT-II: b_k(i) = sqrt(2/n) cos(pi k (2i + 1) / 2n), its first row divided by sqrt(2); rows by frequency."""
    k, i = torch.meshgrid(*2 * [torch.arange(n, dtype=torch.float64)], indexing="ij")
    matrix = sqrt(2 / n) * torch.cos(pi / (2 * n) * k * (2 * i + 1))
    matrix[0] /= sqrt(2)
    return matrix


def haar(n: int) -> Tensor:
    """Haar wavelets of any length, coarse ones first.

    The first row is constant, 1/sqrt(n). Every further row splits an interval into its first p and its last q places,
    p = q or q + 1, and is sqrt(pq / (p + q)) times 1/p on the ones and -1/q on the others.
    """
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[0] = 1 / sqrt(n)
    intervals = deque([(0, n)])  # those that are yet to be split, of two places or more
    for row in range(1, n):
        begin, end = intervals.popleft()
        middle = begin + (end - begin + 1) // 2
        p, q = middle - begin, end - middle
        matrix[row, begin:middle] = sqrt(p * q / (p + q)) / p
        matrix[row, middle:end] = -sqrt(p * q / (p + q)) / q
        intervals += [each for each in ((begin, middle), (middle, end)) if each[1] - each[0] > 1]
    return matrix


def hadamard(n: int) -> Tensor:
    """Sylvester's Hadamard matrix over sqrt(n); n must be a power of two."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < n:
        matrix = torch.cat([matrix.repeat(1, 2), torch.cat([matrix, -matrix], 1)])
    return matrix / sqrt(n)


def random_rotation(n: int, random: np.random.Generator) -> Tensor:
    """Uniform among the orthogonal matrices: Q of a Gaussian matrix's QR decomposition, columns times sign(diag R)
    (Mezzadri, "How to generate random matrices from the classical compact groups", 2007)."""
    with _one_thread():
        q, r = torch.linalg.qr(torch.from_numpy(random.standard_normal((n, n))))
    return q * r.diagonal().sign()


def left_singular_vectors(weights: Tensor) -> Tensor:
    """U^T of the weights unfolded to (out, in x kernel), largest singular value first: (out, out), so that row i of
    B w has the norm of the i-th singular value, 0 beyond the rank."""
    unfolded = weights.detach().cpu().double().reshape(len(weights), -1)
    outputs, others = unfolded.shape
    with _one_thread():
        u, _, _ = torch.linalg.svd(unfolded, full_matrices=outputs > others)
    return u.T.contiguous()


@contextmanager
def _one_thread() -> Iterator[None]:
    """LAPACK rounds differently with another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
