"""Counting: the potential of a feature that has converged is the number of its strong inputs that have spiked.

STDP with the stabilizer drives weights to 0 and 1. The counts of such a feature fit in bytes, 64 in a vector, and the
order of additions does not matter. ``find_counts`` finds the features for which counts give the same first spikes as
the sums of weights in ``firing.py``, to the bit.

A weight above 1/2 is *strong*. Let c be the number of strong synapses whose inputs have spiked, w the smallest strong
weight, Z the sum of all other weights, n the number of synapses, u half the precision eps of the type, s the potential
before the first spike, and L the limit: a neuron fires if its potential V > L. Let

    d = L - s,    m = floor(d) + 1,    E = 2 u (n + 8) (|s| + m + 2)

A feature counts if all its weights lie in 0 … 1, Z < u, 1 <= m <= 255, and

    (1)  m w - E > d
    (2)  m - 1 + Z + E <= d,  or  s = 0 and m > 1

Then V > L if and only if c >= m, after each addition, in any order. Proof:

* An addition rounds to the nearest number: fl(a + b) differs from a + b by at most u |a + b|, and fl is monotonic.
  Hence V never falls, because no weight is negative.
* While c <= m, exact sums lie between s and s + m + Z. By (1), E < 1, because w <= 1 and d >= m - 1. By induction,
  |V| < |s| + m + 2, so at most n additions change V by at most n u (|s| + m + 2) in all, less than E / 2. The rest of E
  covers the rounding of the test itself.
* c >= m: after the m-th strong input, V >= s + m w - E / 2 > s + d = L by (1). V does not fall later.
* c < m, the first case of (2): V <= s + m - 1 + Z + E / 2 <= L.
* c < m, the second case of (2), as with a whole threshold, which an equal count must not exceed: L >= m - 1 >= 1. While
  c = 0, V < u < L. The first strong weight makes at most fl(u + 1) = 1. From then on V <= c: a strong weight makes at
  most fl(c + 1) = c + 1, as whole numbers below 2^24 are exact; another weight is below u, at most half the distance
  from c to the next number, and makes at most fl(c + u) = c. So V <= m - 1 <= L.

The test computes Z in the type of the weights, with a relative error below n u < E < 1, and in its worst order V
exceeds Z by as little while c = 0. Therefore it asks for u / 2.
"""

import numpy as np

from engine.decision import allow_rounding

FULL = 255  # the potential at which a feature fires: counts begin at 255 - m, and stay at 255


def find_counts(weight: np.ndarray, threshold: float) -> np.ndarray:
    """Return m for each feature that counts, and 0 for the others: int64 (F,).

    Args:
        weight: float32 or float64 (F, C, k, k).
        threshold: of the layer.
    """
    weight = weight.reshape(len(weight), -1)
    eps = float(np.finfo(weight.dtype).eps)
    rest = weight - np.rint(weight)  # exact: what strong weights lack to 1, negative, and the other weights
    least = 1 + np.minimum(rest.min(1), 0).astype(np.float64)
    others = np.maximum(rest, 0, out=rest).sum(1)
    limit = float(weight.dtype.type(allow_rounding(threshold, weight.dtype)))
    count = np.minimum(np.floor(limit) + 1, FULL + 1)
    error = eps * (weight.shape[1] + 8) * (count + 2)
    is_in_range = (weight.min(1) >= 0) & (weight.max(1) <= 1) & (others <= eps / 4) & (count >= 1) & (count <= FULL)
    fires = count * least - error > limit
    waits = (count - 1 + others + error <= limit) | (count > 1)
    return np.where(is_in_range & fires & waits, count, 0).astype(np.int64)
