"""The report: a page of Markdown, and its numbers as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.trace.locality.analyse import Locality
from simulator.trace.locality.bootstrap import CONFIDENCE, RESAMPLES
from simulator.trace.locality.published import Comparison, Published
from simulator.trace.locality.sch import RATIOS
from simulator.trace.locality.srp import SEGMENTS
from simulator.trace.locality.table import Number, Row
from simulator.trace.locality.verdict import Verdict

NUMBERS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("experts that the next token uses again", "reuse", {"lag": 1}),
    ("the same, tokens of each sequence shuffled", "reuse_shuffled_in_sequence", {"lag": 1}),
    ("the same, all tokens shuffled", "reuse_shuffled", {"lag": 1}),
    ("the same, every expert as likely (k / E)", "reuse_uniform", {"lag": 1}),
    ("experts that the token 16 later uses again", "reuse", {"lag": 16}),
    ("entropy of expert use, mean over layers (100 %: even)", "entropy", {}),
    ("uses of the most used tenth, mean over layers", "top_share", {}),
    ("next layer's experts foretold by this layer's", "next_layer", {}),
    ("next layer's experts foretold by popularity", "next_layer_popularity", {}),
    ("recorded predictions right, 1 layer ahead", "prediction_accuracy", {"distance": 1}),
)


def summary(found: Locality, verdict: Verdict, published: Published | None) -> dict[str, Any]:
    """Return the main numbers, ready for JSON; shares of one, None where a number cannot be given."""
    routing, header = found.routing, found.header
    numbers = {"_".join([name, *map(_key, at.items())]): found.value(name, **at) for _, name, at in NUMBERS}
    return {
        "model": header.model,
        "synthetic": header.synthetic,
        "phase": found.phase,
        "tokens": routing.shape[0],
        "sequences": len(routing.sequence_starts),
        "layers": header.n_layers,
        "experts": header.n_experts,
        "top_k": header.top_k,
        "missing_rows": int((~routing.recorded).sum()),
        "windows": routing.describe_windows(),
        "verdict": _rounded(asdict(verdict)),
        **_rounded(numbers),
        "lru_hit_rate_2k": _round(found.value("lru_hit_rate", size=_twice(found))),
        "srp": {str(m): _round(found.value("srp", m=m)) for m in SEGMENTS},
        "sch": {
            str(m): {f"{rho:g}": _round(found.value("sch", m=m, rho=rho)) for rho in RATIOS} for m in SEGMENTS
        },
        "published": asdict(published) if published else None,
    }


def markdown(found: Locality, verdict: Verdict, published: Published | None) -> str:
    """Return the page; its figure is locality.png beside it."""
    routing, header = found.routing, found.header
    shape = f"{header.n_layers} MoE layers, {header.n_experts} experts, k = {header.top_k}"
    tokens = {"all": "tokens", "prefill": "prompt tokens", "decode": "decoded tokens"}[found.phase]
    sequences = len(routing.sequence_starts)
    several = f"{sequences} sequences" if sequences > 1 else "one sequence"
    facts = [(text, found.of(name, **at)) for text, name, at in NUMBERS]
    facts.append((f"LRU with {_twice(found)} experts a layer", found.of("lru_hit_rate", size=_twice(found))))
    lines = [
        f"# Locality of {header.model}",
        "",
        f"**{verdict.sentence}**",
        "",
        f"{routing.shape[0]:,} {tokens} in {several}; {shape}."
        + (" The routing is synthetic." * header.synthetic),
        "",
        "![reuse, LRU, SRP, SCH, foresight and popularity](locality.png)",
        "",
        *_table(
            ["", "%", f"{CONFIDENCE:.0%} interval"],
            [[text, _value(row), _span(row)] for text, row in facts if row],
        ),
        *_table(
            ["m (tokens)", "SRP", "", *(f"SCH, cache {rho:g} x active" for rho in RATIOS)],
            [
                [str(m), _value(found.of("srp", m=m)), _span(found.of("srp", m=m))]
                + [_value(found.of("sch", m=m, rho=rho)) for rho in RATIOS]
                for m in SEGMENTS
            ],
        ),
        *(_beside(published) if published else []),
        _counted(found),
        "",
    ]
    return "\n".join(lines)


def _counted(found: Locality) -> str:
    """Say over what the numbers were counted."""
    routing = found.routing
    missing = int((~routing.recorded).sum())
    return (
        f"Windows of SRP and SCH: {routing.describe_windows()}. One shorter than m does not count for it, "
        f"and a cell without any is empty. Intervals come from {RESAMPLES:,} resamples of the sequences, and "
        "are empty where there is only one."
        + (f" {missing:,} rows that were not recorded count nowhere." if missing else "")
        + " All numbers are in locality.csv."
    )


def _beside(published: Published) -> list[str]:
    """Return the table beside the paper's values."""
    lines = [f"Beside {published.model} as published ({published.source}):", ""]
    rows = [[_name(pair), _percent(pair.here), _range(pair)] for pair in published.comparisons]
    lines += _table(["", "here (%)", "published (%)"], rows)
    return [*lines, "Why they differ: " + "; ".join(published.reasons) + ".", ""]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [*("| " + " | ".join(row) + " |" for row in (head, rule, *rows)), ""]


def _name(pair: Comparison) -> str:
    return f"SRP, m = {pair.m}" if pair.rho is None else f"SCH, m = {pair.m}, cache {pair.rho:g} x active"


def _range(pair: Comparison) -> str:
    low, high = _percent(pair.published_low), _percent(pair.published_high)
    return low if low == high else f"{low} to {high}"


def _value(row: Row | None) -> str:
    return _percent(row.value) if row else ""


def _span(row: Row | None) -> str:
    return f"{_percent(row.low)} to {_percent(row.high)}" if row and row.low is not None else ""


def _percent(value: Number) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _round(value: Number) -> Number:
    return None if value is None else round(value, 6)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) if isinstance(value, float) else value for name, value in values.items()}


def _key(parameter: tuple[str, int]) -> str:
    name, value = parameter
    return f"{name}{value}"


def _twice(found: Locality) -> int:
    """Return twice k, or all experts where there are fewer."""
    return min(2 * found.header.top_k, found.header.n_experts)
