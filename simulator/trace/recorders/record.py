"""A recording: prompts through a model, one trace chunk for each batch of sequences."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from simulator.errors import InputError
from simulator.trace.core import DECODE, PREFILL, Trace, TraceHeader
from simulator.trace.recorders.decode import RecordedSequence, run_batch
from simulator.trace.recorders.gates import Gates
from simulator.trace.recorders.hooks import RouterHooks, join
from simulator.trace.recorders.prompts import Tokens
from simulator.trace.recorders.sampling import Sampler

MANTISSA_BITS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """How to record: tokens to decode, layers to predict ahead, sampling, sequences at a time.

    ``mantissa_bits`` of the 10 of a float16 are kept of ``predicted_weights`` and ``gate_top_p``:
    fewer make a smaller file. The weights of the routing itself are never rounded further.
    ``keep_text`` records token ids, from which whoever has the tokenizer reads prompts and answers.
    """

    decode: int
    predict: int = 3
    temperature: float = 0.8
    top_p: float = 0.95
    seed: int = 0
    batch: int = 1
    mantissa_bits: int = MANTISSA_BITS
    keep_text: bool = False

    def batches(self, n_prompts: int) -> range:
        """Return the numbers of the batches that so many prompts make."""
        return range(-(-n_prompts // self.batch))

    def __str__(self) -> str:
        """Return the settings as a phrase for the trace's notes."""
        drawn = f"temperature {self.temperature:g}, top-p {self.top_p:g}" if self.temperature else "greedy"
        run = f"up to {self.decode} decoded tokens a sequence, {drawn}, seed {self.seed}, batch {self.batch}"
        if self.mantissa_bits == MANTISSA_BITS:
            return run
        return f"{run}. predicted_weights and gate_top_p are rounded to {self.mantissa_bits} mantissa bits"


def record(
    model: nn.Module,
    gates: Gates,
    header: TraceHeader,
    prompts: Sequence[Tokens],
    settings: Settings,
    *,
    batches: Iterable[int] | None = None,
    stop: frozenset[int] = frozenset(),
    on_tokens: Callable[[int], None] = lambda _recorded: None,
) -> Iterator[Trace]:
    """Yield the trace of prompts (token ids), ``settings.batch`` sequences at a time.

    ``batches`` are the numbers of those to run, all by default; what a batch records depends on
    no other. Only one is held in memory, and that whole: its sequences run together, but a trace
    has them one after the other. Its rows are a fraction of the KV cache that it needs anyway.
    ``on_tokens`` is told how many tokens each pass recorded.
    """
    model.eval()
    with torch.inference_mode(), RouterHooks(gates, settings.predict) as hooks:
        for number in settings.batches(len(prompts)) if batches is None else batches:
            first = number * settings.batch
            batch = prompts[first : first + settings.batch]
            samplers = [
                Sampler(settings.temperature, settings.top_p, settings.seed, first + row)
                for row in range(len(batch))
            ]
            try:
                sequences = run_batch(
                    model, hooks, batch, samplers, decode=settings.decode, stop=stop, on_tokens=on_tokens
                )
            except torch.OutOfMemoryError as fault:
                raise InputError(
                    f"batch {number + 1}", "the memory of the device is full", "a smaller --batch or --dtype"
                ) from fault
            yield to_trace(header, sequences, first, settings)


def identity(settings: Settings, header: TraceHeader, prompts: Sequence[Tokens]) -> dict[str, Any]:
    """Return what two recordings must share to be the same: settings, prompts, header."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(len(prompt).to_bytes(8, "little") + np.asarray(prompt, np.int32).tobytes())
    told = {f"header {name}": value for name, value in header.model_dump(mode="json").items()}
    return asdict(settings) | {"digest of the prompts": digest.hexdigest()[:16]} | told


def to_trace(
    header: TraceHeader, sequences: Sequence[RecordedSequence], first: int, settings: Settings
) -> Trace:
    """Return recorded sequences, numbered from ``first``, as a trace of tokens in order."""
    rows = join([part for sequence in sequences for part in sequence.parts])
    lengths = [len(sequence.tokens) for sequence in sequences]
    position = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    n_prompt = np.repeat([sequence.n_prompt for sequence in sequences], lengths)
    distances = range(1, settings.predict + 1)
    bits = settings.mantissa_bits
    token_ids = np.concatenate([np.array(sequence.tokens, dtype=np.int32) for sequence in sequences])
    return Trace(
        header=header,
        sequence=np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), lengths),
        position=position,
        phase=np.where(position < n_prompt, PREFILL, DECODE).astype(np.uint8),
        experts=rows["experts"],
        weights=rows["weights"],
        predicted=tuple(rows[f"predicted_{distance}"] for distance in distances),
        predicted_weights=tuple(
            rounded(rows[f"predicted_weights_{distance}"], bits) for distance in distances
        ),
        gate_top=rows["gate_top"],
        gate_top_p=rounded(rows["gate_top_p"], bits),
        token_id=token_ids if settings.keep_text else None,
    )


def rounded(values: npt.NDArray[np.float16], bits: int) -> npt.NDArray[np.float16]:
    """Return non-negative float16 values rounded to ``bits`` of their 10 mantissa bits, halves up."""
    dropped = MANTISSA_BITS - bits
    if dropped == 0:
        return values
    half = np.uint16(1 << (dropped - 1))
    return ((values.view(np.uint16) + half) >> dropped << dropped).view(np.float16)
