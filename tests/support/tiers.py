"""Which cases of a parametrised test are in the first tier."""

import pytest

FAST_NETWORKS = "mozafari2018", "deepr2024_greedy", "majority2024"  # STDP and R-STDP, two rewarded stages, branches


def slow_except(fast, cases):
    """Return the cases for ``parametrize``: those that are not in ``fast`` run only with --slow."""
    cases = [(case, case if isinstance(case, tuple) else (case,)) for case in cases]
    return [pytest.param(*values, marks=() if case in fast else pytest.mark.slow) for case, values in cases]
