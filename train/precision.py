"""The arithmetic in which a fit is fastest on this machine."""

import torch

SCALED = "16-mixed"
"""fp16, whose gradients are scaled; a fused optimiser unscales them too late to be clipped."""
_CPU_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Names of what x86 and Arm processors compute bf16 with."""


def fastest_precision() -> str:
    """Lightning's word for it: mixed with bf16 where the machine computes that, else plain fp32.

    Where a processor has no bf16 of its own, mixed precision is many times slower than fp32.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else SCALED
    able = torch.cpu.get_capabilities()
    return "bf16-mixed" if any(able.get(name) for name in _CPU_BF16) else "32-true"
