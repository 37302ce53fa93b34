"""``moesim trace record``: run a model, write down its routing."""

from __future__ import annotations

import importlib.util
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from simulator.errors import InputError


class Dtype(StrEnum):
    """Precisions in which a model can be run."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def record(
    model: Annotated[Path, typer.Option(help="Folder of a Hugging Face model with MoE layers.")],
    prompts: Annotated[
        Path, typer.Option(help='One prompt a line, or .jsonl with {"prompt": "..."} a line.')
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet trace to write; must not exist.")],
    decode: Annotated[int, typer.Option(min=0, help="Tokens to decode after each prompt.")],
    predict: Annotated[int, typer.Option(min=0, help="Layers ahead that the next gates predict.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="0 decodes greedily.")] = 0.8,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Mass of the nucleus to draw from.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Sequences that run together.")] = 1,
    mantissa_bits: Annotated[
        int, typer.Option(min=1, max=10, help="Bits kept of predicted and gate_top weights; 10 is float16.")
    ] = 10,
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    dtype: Annotated[Dtype, typer.Option(help="Precision; float32 routes reproducibly.")] = Dtype.FLOAT32,
    prompt_source: Annotated[
        str | None, typer.Option(help="Where the prompts come from; by default the file's name.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the trace.")] = None,
    notes: Annotated[str, typer.Option(help="What a reader of the trace should know.")] = "",
) -> None:
    """Record the routing of a model over prompts: prefill, then sampled decoding.

    Each token's experts and weights, the 2k best gate probabilities, and what the gates of the
    next layers say of this layer's gate input. A text that ends itself ends its sequence.
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise InputError("moesim trace record", f"needs {package}", "pip install 'moesim[record]'")
    from simulator.trace.parquet import TraceWriter
    from simulator.trace.recorders import gates, huggingface
    from simulator.trace.recorders import prompts as texts
    from simulator.trace.recorders import record as recording

    if output.exists():
        raise InputError(str(output), "exists", "remove it or name another file")
    written = texts.read_prompts(prompts)
    loaded = huggingface.load(model, device=device, dtype=dtype.value)
    tokens = huggingface.tokenize(loaded, written, decode)
    found = gates.find_gates(loaded.module, tokens[0])
    settings = recording.Settings(decode, predict, temperature, top_p, seed, batch, mantissa_bits)
    header = huggingface.make_header(
        loaded,
        found,
        dtype=dtype.value,
        prompt_source=prompt_source or prompts.name,
        licence=licence,
        notes=f"{notes.strip().rstrip('.')}. {settings}" if notes.strip() else str(settings),
    )
    console = Console(stderr=True)
    total = sum(len(prompt) + decode for prompt in tokens)
    with (
        Progress(console=console, disable=not console.is_terminal) as progress,
        TraceWriter(output) as writer,
    ):
        task = progress.add_task("recording", total=total)
        for chunk in recording.record(
            loaded.module,
            found,
            header,
            tokens,
            settings,
            stop=loaded.stop,
            on_tokens=lambda n: progress.advance(task, n),
        ):
            writer.append(chunk)
