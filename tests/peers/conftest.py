"""TorchJD's modules for the tests that compare, or the reason why they are skipped."""

import pytest
from peers.sides import load_torch

WHY = "the comparison with TorchJD needs the extra `bench`: make peers"


@pytest.fixture(scope="session")
def t():
    pytest.importorskip("torch", reason=WHY)
    pytest.importorskip("torchjd", reason=WHY)
    modules = load_torch()
    before = modules.torch.get_default_dtype()
    modules.torch.set_default_dtype(modules.torch.float64)
    yield modules
    modules.torch.set_default_dtype(before)
