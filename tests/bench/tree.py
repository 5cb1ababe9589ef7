"""What a process and all its descendants cost: CPU time and memory, read from /proc."""

from __future__ import annotations

import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """`root` and everything below it that is alive."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, of ended and awaited children too."""
    return sum(sum(map(int, fields[11:15])) for pid in descendants(root) if (fields := _stat(pid))) / TICKS


def pss_mib(root: int) -> float:
    """Proportional set size of the tree."""
    total = 0
    for pid in descendants(root):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def own_cpu_seconds(pid: int) -> float:
    """User and system time of one process."""
    fields = _stat(pid)
    return sum(map(int, fields[11:13])) / TICKS if fields else 0.0


def own_memory_mib(pid: int) -> tuple[float, float]:
    """Resident and proportional set size of one process."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = {name: int(line.split()[1]) / 1024 for line in lines[1:] for name in [line.split(":")[0]]}
    return sizes.get("Rss", 0.0), sizes.get("Pss", 0.0)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on; the command before it may hold blanks."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()
