"""What a container or a batch system lets this process have: limits of Linux control groups.

A limit of any ancestor holds for its descendants, so all groups from the process's own up to the
root are read, in versions 1 and 2. Source: the kernel's Documentation/admin-guide/cgroup-v1 and
cgroup-v2.rst.
"""

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def memory_limit() -> float:
    """The bytes that this process may use, or infinity."""
    found = [_number(folder / "memory.max") for folder in _groups("")]
    found += [_number(folder / "memory.limit_in_bytes") for folder in _groups("memory")]
    return min(found, default=math.inf)


def processor_quota() -> float:
    """How many processors' time this process may use, 1.5 say, or infinity."""
    found = []
    for folder in _groups(""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        found.append(_ratio(quota, period))
    for folder in _groups("cpu"):
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        found.append(_ratio(quota, period))
    return min(found, default=math.inf)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's group and its ancestors; controller "" is version 2."""
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller not in controllers.split(","):
            continue
        mounted = [ROOT, ROOT / "unified"] if not controller else [ROOT / controllers]
        mounted += [ROOT / controller] if controller and controllers != controller else []
        group = Path(path.strip().lstrip("/"))
        # In a container the path may be that of the host, of which only the root is mounted here.
        for folder in mounted:
            yield from (folder / part for part in [group, *group.parents])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path) -> float:
    text = _text(path)
    return int(text) if text.isdigit() else math.inf


def _ratio(quota: str, period: str) -> float:
    if quota.isdigit() and period.isdigit() and int(quota) and int(period):
        return int(quota) / int(period)
    return math.inf
