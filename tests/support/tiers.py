"""Which cases of a parametrised test are in the first tier."""

import pytest

FAST_NETWORKS = "mozafari2018", "deepr2024_greedy", "majority2024"  # STDP and R-STDP, two rewarded stages, branches


def slow_except(fast, cases):
    """Return the cases for ``parametrize``: those that are not in ``fast`` run only with --slow."""
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]
