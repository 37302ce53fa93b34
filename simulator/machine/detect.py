"""Which parts a machine is made of, as far as the system tells without special rights."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simulator.machine.parts import LINK, gpus, hosts

QUERY = ("name", "pcie.link.gen.max", "pcie.link.width.max")


@dataclass(slots=True)
class Found:
    """Parts by key, as an experiment says them, and what could not be told."""

    parts: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def detect(root: Path = Path("/"), gpu_lines: Iterable[str] | None = None) -> Found:
    """Return the parts of this machine. ``root`` holds proc and sys, ``gpu_lines`` nvidia-smi's answer."""
    found = Found()
    _gpu(found, list(_nvidia_smi() if gpu_lines is None else gpu_lines))
    _host(found, _text(root / "proc/cpuinfo"))
    _memory(found, _text(root / "proc/meminfo"))
    _drive(found, root / "sys/block")
    return found


def _nvidia_smi() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 - nvidia-smi
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _gpu(found: Found, lines: list[str]) -> None:
    cells = [
        [cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == len(QUERY) - 1
    ]
    if not cells:
        found.unknown.append("gpu: nvidia-smi tells of none; name one of moesim list parts")
        return
    name, generation, width = cells[0]
    if len(cells) > 1:
        found.unknown.append(f"gpu: {len(cells)} GPUs are here, and one is modelled")
    part = closest(name, {key: gpu.title for key, gpu in gpus().items()})
    if part is None:
        found.unknown.append(f"gpu: {name} is not in the catalogue; name a like one")
    else:
        found.parts["gpu"] = part
    link = f"pcie{generation}-x{width}"
    if LINK.fullmatch(link):
        found.parts["link"] = link
    else:
        found.unknown.append(f"link: PCIe {generation} x{width}")


def _host(found: Found, cpuinfo: str) -> None:
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if match is None:
        found.unknown.append("host: the system does not name its CPU")
        return
    part = closest(match[1], {key: host.title for key, host in hosts().items()})
    if part is None:
        found.unknown.append(f"host: {match[1].strip()} is not in the catalogue; name a like one")
    else:
        found.parts["host"] = part


def _memory(found: Found, meminfo: str) -> None:
    match = re.search(r"^MemTotal:\s*([0-9]+) kB", meminfo, re.MULTILINE)
    if match is None:
        found.unknown.append("memory: the system does not tell how much it has")
        return
    gib = int(match[1]) / 2**20
    modules = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256)
    sizes = [n * size for n in (1, 2, 3, 4, 6, 8, 12, 16) for size in modules]
    whole = min((size for size in sizes if size >= gib * 0.99), default=round(gib))
    say = f"say memory: {whole}GB DDR5-6000, or what it is"
    found.unknown.append(f"memory: {whole}GB; its kind and rate need root (dmidecode): {say}")


def _drive(found: Found, block: Path) -> None:
    try:
        names = sorted(path.name for path in block.iterdir())
    except OSError:
        names = []
    if any(name.startswith("nvme") for name in names):
        found.unknown.append("drive: an NVMe drive; say gen3-nvme, gen4-nvme or gen5-nvme")
    elif any(name.startswith("sd") for name in names):
        found.parts["drive"] = "sata-ssd"
    else:
        found.unknown.append("drive: none is seen")


def closest(said: str, titles: Mapping[str, str]) -> str | None:
    """Return the part whose title's words are all in a name that the system gives; the longest wins."""
    words = _words(said)
    fitting = [key for key, title in titles.items() if _words(title) <= words]
    return max(fitting, key=lambda key: (len(_words(titles[key])), key), default=None)


def _words(text: str) -> set[str]:
    text = re.sub(r"\((r|tm|laptop)\)|nvidia|amd|intel|graphics|gpu|processor|cpu", " ", text.lower())
    return set(re.findall(r"[a-z0-9+]+", text.replace("-", " ")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
