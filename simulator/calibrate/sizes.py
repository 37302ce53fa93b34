"""How much work a device is given: so much that a GPU shows its rates, or a rehearsal's."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, counts and seconds of the measurements on a device.

    ``needed`` bytes of its memory have to be free: two of the largest experts, buffers, and PyTorch's own.
    ``beside``: those of a reference run that are not its cache: dense layers, the probe's memory, PyTorch's
    own. ``in_a_row``: small copies are given in a row, so that the wait at their end hardly counts.
    ``many`` tokens make an expert limited by what is computed, not by what is read. ``warm_s``: an idle GPU
    and its link run at lower clocks. ``queued``: launches that CUDA queues without waiting (about 1,024).
    ``expert`` (hidden, ffn), of which a token chooses ``chosen``: those of DeepSeek-V2-Lite and OLMoE.
    ``held`` is the side of the matrix products that keep a device busy while others are queued.
    """

    copies: tuple[int, ...] = (64 * KIB, MIB, 16 * MIB, 128 * MIB)
    needed: int = 4 << 30
    beside: int = 2 << 30
    in_a_row: int = 64 * MIB
    beyond_caches: int = 512 * MIB
    launches: int = 1000
    queued: int = 500
    held: int = 8192
    many: int = 2048
    warm_s: float = 0.5
    expert: tuple[int, int] = (2048, 1408)
    chosen: int = 8
    unpacked: int = 4096 * 14336


REHEARSED = Sizes(
    copies=(4 * KIB, 64 * KIB),
    needed=MIB,
    beside=MIB,
    in_a_row=MIB,
    beyond_caches=MIB,
    launches=10,
    queued=10,
    held=16,
    many=8,
    warm_s=0.0,
    expert=(32, 32),
    chosen=2,
    unpacked=64 * KIB,
)
