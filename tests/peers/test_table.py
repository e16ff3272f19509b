"""The table of pairs is whole: what TorchJD has is compared, or no method."""

import pytest
from peers.pairs import NOT_A_METHOD, PAIRS, RANDOM


def test_every_method_of_torchjd_is_compared(t):
    theirs = set(t.aggregation.__all__)
    theirs |= {f"scalarization.{name}" for name in t.scalarization.__all__}
    compared = {name for pair in PAIRS.values() for name in pair.peers}
    compared |= {name for names in RANDOM.values() for name in names}
    assert compared | NOT_A_METHOD == theirs
    assert not compared & NOT_A_METHOD


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_every_method_of_the_table_is_in_paretax(name):
    for m in PAIRS[name].sizes:
        assert PAIRS[name].ours(m) is not None
