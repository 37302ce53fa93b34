"""``moesim trace record``: run a model, write down its routing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.trace.recorders.resume import Parts


class Dtype(StrEnum):
    """Precisions in which a model can be run."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def record(
    model: Annotated[Path, typer.Option(help="Folder of a Hugging Face model with MoE layers.")],
    prompts: Annotated[
        Path, typer.Option(help='One prompt a line, or .jsonl with {"prompt"} or {"messages"} a line.')
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet trace to write.")],
    decode: Annotated[int, typer.Option(min=0, help="Tokens to decode after each prompt.")],
    predict: Annotated[int, typer.Option(min=0, help="Layers ahead that the next gates predict.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="0 decodes greedily.")] = 0.8,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="Mass of the nucleus to draw from.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Sequences that run together.")] = 1,
    mantissa_bits: Annotated[
        int, typer.Option(min=1, max=10, help="Bits kept of predicted and gate_top weights; 10 is float16.")
    ] = 10,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")] = "cpu",
    dtype: Annotated[Dtype, typer.Option(help="Precision; float32 routes reproducibly.")] = Dtype.FLOAT32,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put each prompt through the tokenizer's chat template.")
    ] = False,
    keep_text: Annotated[
        bool, typer.Option("--keep-text", help="Record token ids, from which the text can be read.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a recording that was interrupted.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
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
    from simulator.trace.recorders import gates, huggingface
    from simulator.trace.recorders import prompts as texts
    from simulator.trace.recorders import record as recording
    from simulator.trace.recorders.resume import Parts
    from simulator.trace.recorders.tokens import tokenize

    with Parts(output, resume=resume, force=force) as parts:
        written = texts.read_prompts(prompts)
        loaded = huggingface.load(model, device=device, dtype=dtype.value)
        tokens = tokenize(loaded, written, decode, chat=chat)
        found = gates.find_gates(loaded.module, tokens[0])
        settings = recording.Settings(
            decode, predict, temperature, top_p, seed, batch, mantissa_bits, keep_text
        )
        said = [notes.strip().rstrip("."), str(settings)]
        if chat or not all(isinstance(prompt, str) for prompt in written):
            said.append("prompts went through the chat template")
        header = huggingface.make_header(
            loaded,
            found,
            dtype=dtype.value,
            prompt_source=prompt_source or prompts.name,
            licence=licence,
            notes=". ".join(phrase for phrase in said if phrase),
        )
        parts.start(recording.identity(settings, header, tokens) | huggingface.identity(model, device))
        batches = settings.batches(len(tokens))
        sizes = [sum(len(prompt) + decode for prompt in tokens[n * batch : (n + 1) * batch]) for n in batches]
        with _interruptible(parts, len(batches)):
            with _progress() as progress:
                finished = sum(sizes[number] for number in parts.done)
                task = progress.add_task("", total=sum(sizes), completed=finished)
                missing = [number for number in batches if number not in parts.done]
                chunks = recording.record(
                    loaded.module,
                    found,
                    header,
                    tokens,
                    settings,
                    batches=missing,
                    stop=loaded.stop,
                    on_tokens=lambda n: progress.advance(task, n),
                )
                for number, chunk in zip(missing, chunks, strict=True):
                    parts.write(number, chunk)
                    finished += sizes[number]  # also the tokens of sequences that ended early
                    progress.update(task, completed=finished)
            parts.join(len(batches))


@contextmanager
def _interruptible(parts: Parts, count: int) -> Iterator[None]:
    """Say how to go on after ctrl-C or SIGTERM."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if parts.done:
            how = "the same command with --resume continues"
            print(
                f"moesim: interrupted, {len(parts.done)} of {count} batches are kept; {how}", file=sys.stderr
            )
        raise


def _progress() -> Progress:
    """Return a bar on stderr with tokens, time and time left; nothing where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("recording"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,} tokens"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
