"""Each method that TorchJD has too gives what it gives there, or the table says why."""

import numpy as np
import pytest
from peers.pairs import PAIRS
from peers.sides import apart, numbers, run_ours, run_theirs

# cvxpy warns of inaccurate solutions and of parameters, torch of its own futures.
pytestmark = pytest.mark.filterwarnings("ignore")


CASES = [
    pytest.param(name, kind, m, id=f"{name}, {kind}, m={m}")
    for name, pair in PAIRS.items()
    for kind in pair.matrices
    for m in pair.sizes
]


@pytest.mark.parametrize(("name", "kind", "m"), CASES)
def test_a_method_gives_what_it_gives_in_torchjd(t, name, kind, m):
    pair = PAIRS[name]
    x = numbers(kind, m, pair.count, pair.steps, pair.scale)
    ours = run_ours(pair.ours, m, x)
    theirs = run_theirs(pair.theirs, t, m, x)
    solved = np.isfinite(theirs).all((1, 2))
    if pair.solved is not None:
        solved &= pair.solved(x, theirs).all(1)
        assert pair.solved(x, ours).all()
    assert np.isfinite(ours).all()
    assert (~solved).mean() <= pair.fails
    found = apart(pair.compare, x["jac"], ours, theirs)[solved]
    assert found.max() <= pair.tol, np.sort(found.max(1))[::-1][:5]
