"""Which parts a machine is made of, as far as the system tells without special rights."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from simulator.machine.catalogue import Gpu, Host, Part, catalogue
from simulator.machine.memory import RATES

QUERY = ("name", "memory.total", "pcie.link.gen.max", "pcie.link.width.max")
DISPLAYS = ("0x0300", "0x0302", "0x0380")
VENDORS = {"0x1002": "AMD", "0x10de": "NVIDIA", "0x8086": "Intel"}
FORMS = {"pcie", "sxm", "nvl"}
"""Words of a card's form, which not every name has."""
UNSAID = {"tesla", "generation", "workstation", "edition", "blackwell"}
GENERATIONS = {"8.0": 3, "16.0": 4, "32.0": 5}
"""PCIe by the transfer rate (GT/s) that sysfs tells."""
MODULES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256)
"""Sizes of modules that are sold, in GiB."""


@dataclass(slots=True)
class Found:
    """Parts by key, as an experiment says them, and what could not be told."""

    parts: dict[str, str | int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def detect(root: Path = Path("/"), gpu_lines: Iterable[str] | None = None) -> Found:
    """Return the parts of this machine. ``root`` holds proc and sys, ``gpu_lines`` nvidia-smi's answer."""
    found = Found()
    if board := _text(root / "proc/device-tree/model").strip("\0\n "):
        _board(found, board)
    _gpu(found, list(_nvidia_smi() if gpu_lines is None else gpu_lines), root)
    _host(found, _text(root / "proc/cpuinfo"))
    _memory(found, root)
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


def _board(found: Found, board: str) -> None:
    found.unknown.append(f"machine: the board is a {board}; moesim list parts --find machine has such ones")


def _gpu(found: Found, lines: list[str], root: Path) -> None:
    cells = [
        [cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == len(QUERY) - 1
    ]
    if not cells:
        cards = list(_cards(root / "sys/bus/pci/devices"))
        found.unknown += cards or ["gpu: the system shows none; name one of moesim list parts"]
        return
    name, memory, generation, width = cells[0]
    if others := sorted({other[0] for other in cells[1:]} - {name}):
        found.unknown.append(f"gpu: {', '.join(others)} too; a machine of parts has cards of one kind")
    elif len(cells) > 1:
        found.parts["gpus"] = len(cells)
    part = card(name, int(memory) if memory.isdecimal() else None)
    if part is None:
        found.unknown.append(f"gpu: {name} is not in the catalogue; name a like one")
    else:
        found.parts["gpu"] = part
    link = f"pcie{generation}-x{width}"
    if link in catalogue("link"):
        found.parts["link"] = link
    else:
        found.unknown.append(f"link: PCIe {generation} x{width}")


def card(name: str, mib: int | None) -> str | None:
    """Return the card that nvidia-smi calls so; of several sizes the one that has as much memory."""
    words = _card_words(name)
    fitting: dict[str, tuple[int, int]] = {}
    for key, one in catalogue("gpu").items():
        title = _card_words(one.title)
        if isinstance(one, Gpu) and title - FORMS == words - FORMS:
            apart = abs(one.memory.value - mib * 2**20) // 2**31 if mib is not None else 0
            fitting[key] = (apart, len(title ^ words))
    return min(fitting, key=fitting.__getitem__, default=None)


def _card_words(text: str) -> set[str]:
    text = re.sub(r"\d+ ?gb", " ", text.lower().replace("hbm3", "sxm"))
    return _words(re.sub(r"sxm\d", "sxm", text)) - UNSAID


def _cards(devices: Path) -> Iterable[str]:
    """Iterate over what sysfs tells of each display card."""
    for device in sorted(devices.glob("*")) if devices.is_dir() else []:
        if not _text(device / "class").startswith(DISPLAYS):
            continue
        vendor, model = _text(device / "vendor").strip(), _text(device / "device").strip()
        said = f"{VENDORS.get(vendor, vendor)} card {vendor[2:]}:{model[2:]}"
        if (size := _text(device / "mem_info_vram_total").strip()).isdecimal():
            said += f" of {int(size) / 2**30:.0f} GB"
        rate = _text(device / "max_link_speed").partition(" ")[0]
        if generation := GENERATIONS.get(rate):
            said += f" at pcie{generation}-x{_text(device / 'max_link_width').strip()}"
        yield f"gpu: {said}; the system does not say its name, which moesim list parts may have"


def _host(found: Found, cpuinfo: str) -> None:
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if match is None:
        found.unknown.append("host: the system does not name its CPU")
        return
    part = closest(match[1], catalogue("host"))
    if part is None:
        found.unknown.append(f"host: {match[1].strip()} is not in the catalogue; name a like one")
        return
    found.parts["host"] = part
    sockets = set(re.findall(r"^physical id\s*:\s*(\d+)", cpuinfo, re.MULTILINE))
    if len(sockets) > 1:
        found.unknown.append(f"host: {len(sockets)} sockets are here, and one is modelled")


def _memory(found: Found, root: Path) -> None:
    """Tell how much memory there is; its kind and modules where the memory controller's driver is loaded."""
    match = re.search(r"^MemTotal:\s*([0-9]+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if match is None:
        found.unknown.append("memory: the system does not tell how much it has")
        return
    gib = int(match[1]) / 2**20
    sizes = [n * size for n in (1, 2, 3, 4, 6, 8, 12, 16) for size in MODULES]
    whole = min((size for size in sizes if size >= gib * 0.99), default=round(gib))
    modules = list((root / "sys/devices/system/edac/mc").glob("mc*/dimm*"))
    said = " ".join(_text(module / "dimm_mem_type") for module in modules).upper()
    kind = next((one for one in sorted(RATES, key=len, reverse=True) if one in said), "")
    about = f"{len(modules)} modules of {kind or 'a kind that it does not tell'}; " if modules else ""
    lacking = "its rate needs" if kind else "its kind and rate need"
    say = f"say memory: {whole}GB {kind or 'DDR5'}-{RATES[kind or 'DDR5'][0]}, with its own rate"
    found.unknown.append(f"memory: {whole}GB; {about}{lacking} root (dmidecode): {say}")
    limit = _text(root / "sys/fs/cgroup/memory.max").strip()
    if limit.isdecimal() and int(limit) < int(match[1]) * 1024:
        found.unknown.append(f"memory: this container may use {int(limit) / 2**30:.1f} GiB of it")


def _drive(found: Found, block: Path) -> None:
    try:
        names = sorted(path.name for path in block.iterdir())
    except OSError:
        names = []
    if nvme := next((name for name in names if name.startswith("nvme")), None):
        model = _text(block / nvme / "device/model").strip()
        rate = _text(block / nvme / "device/device/current_link_speed").partition(" ")[0]
        if generation := GENERATIONS.get(rate):
            found.parts["drive"] = f"gen{generation}-nvme"
        else:
            called = f" ({model})" if model else ""
            found.unknown.append(f"drive: an NVMe drive{called}; say gen3-nvme, gen4-nvme or gen5-nvme")
    elif disk := next((name for name in names if name.startswith("sd")), None):
        turns = _text(block / disk / "queue/rotational").strip() == "1"
        found.parts["drive"] = "hdd" if turns else "sata-ssd"
    else:
        found.unknown.append("drive: none is seen that is not virtual")


def closest(said: str, parts: Mapping[str, Part]) -> str | None:
    """Return the part whose title's words are all in a name that the system gives; the longest wins."""
    words = _words(said)
    titles = {key: _words(part.title) for key, part in parts.items() if isinstance(part, Host)}
    fitting = [key for key, title in titles.items() if title <= words]
    return max(fitting, key=lambda key: (len(titles[key]), key), default=None)


def _words(text: str) -> set[str]:
    text = re.sub(r"\((r|tm)\)|nvidia|amd|intel|graphics|gpu|processor|cpu", " ", text.lower())
    return set(re.findall(r"[a-z0-9+]+", text.replace("-", " ")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
