"""A fit computes in what the machine is fastest in, told from the processor or the GPU."""

import pytest
import torch

from train.fit import FitSettings
from train.paper.fitting import EpochSettings
from train.precision import fastest_precision


@pytest.fixture
def machine(monkeypatch):
    """Give torch another machine to see."""

    def put(*, cpu=(), cuda=False, cuda_bf16=False):
        def able():
            return dict.fromkeys(cpu, True)

        monkeypatch.setattr(torch.cpu, "get_capabilities", able)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: cuda_bf16)

    return put


@pytest.mark.parametrize(
    ("cpu", "word"),
    [
        (("avx2", "f16c"), "32-true"),
        (("avx2", "avx512_f", "avx512_bf16"), "bf16-mixed"),
        (("avx512_f", "avx512_vnni"), "32-true"),
        (("amx_tile", "amx_bf16"), "bf16-mixed"),
        (("neon",), "32-true"),
        (("neon", "bf16"), "bf16-mixed"),
    ],
)
def test_a_processor_without_bf16_fits_in_fp32(machine, cpu, word):
    machine(cpu=cpu)
    assert fastest_precision() == word
    assert FitSettings(labels=()).precision == EpochSettings().precision == word


def test_a_gpu_decides_where_there_is_one(machine):
    machine(cpu=("avx2",), cuda=True, cuda_bf16=True)
    assert fastest_precision() == "bf16-mixed"
    machine(cpu=("avx512_bf16",), cuda=True)
    assert fastest_precision() == "16-mixed"


def test_torch_tells_what_this_processor_can():
    assert torch.cpu.get_capabilities()["architecture"]
