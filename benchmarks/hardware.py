"""The machine that a benchmark runs on: hardware, versions, memory."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def machine(threads: int | None = None) -> dict[str, Any]:
    """Returns the hardware and versions that figures belong to."""
    import torch

    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout
    found = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": cores(),
        "threads": threads or torch.get_num_threads(),
        "memory": f"{pages / 2**30:.0f} GiB",
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "system": f"{platform.system()} {' '.join(platform.libc_ver())}".strip(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "i2i": (commit or "unknown") + (" with changes" if changed else ""),
    }
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {"gpu": card.name, "gpu memory": f"{card.total_memory / 2**30:.0f} GiB", "cuda": torch.version.cuda}
    return found


def resident(key: str = "VmRSS") -> int:
    """Returns this process's resident memory in bytes, now (``VmRSS``) or at its highest (``VmHWM``); Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("needs /proc/self/status")


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
