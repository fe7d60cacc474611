"""What figures are of: the machine, and the clock that they are read from."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

# cpu: this process's own seconds of processor time, on a machine that others use too. On one thread
# they are what the wall's would be if it were quiet.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def describe_machine() -> dict[str, Any]:
    """The machine as it is now."""
    import torch

    able = torch.cpu.get_capabilities()
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": [name for name in ("avx512_bf16", "amx_bf16") if able.get(name)],
        "load_average": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
