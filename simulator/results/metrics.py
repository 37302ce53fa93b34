"""Metrics: one typed list that drives the table, the CSV and the figures alike (design §4 Results)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from simulator.results.collect import Collector
from simulator.results.quality import Loss

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a run's metrics are computed from."""

    collector: Collector
    link_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    started: int
    useful: int
    unused: int
    cancelled: int
    dropped: int
    wasted_bytes: int
    belady: float | None
    belady_kind: str
    dram_is_next: bool
    expert_bytes: Fraction = Fraction(0)
    token_cycle_bytes: int | None = None
    loss: Loss | None = None


Value = int | float | str | None


@dataclass(frozen=True, slots=True)
class Metric:
    """A column: its name (units in it), what it means, how it is computed, its heading in the table."""

    name: str
    meaning: str
    compute: Callable[[Outcome], Value]
    heading: str = ""


def ratio(a: int, b: int) -> float | None:
    """Return a / b, correctly rounded; None where b is 0."""
    return float(Fraction(a, b)) if b else None


def _ms(ns: int, n: int) -> float | None:
    return ratio(ns, n * NS_PER_MS)


def _per_s(n: int, ns: int) -> float | None:
    return ratio(n * 1_000_000_000, ns)


def _percentile(gaps: list[int], q: int) -> float | None:
    """Return the q-th percentile in ms, linear between order statistics, exactly."""
    if not gaps:
        return None
    ordered = sorted(gaps)
    at = Fraction(q * (len(ordered) - 1), 100)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return float((ordered[low] + (at - low) * (ordered[high] - ordered[low])) / NS_PER_MS)


def _gaps(o: Outcome) -> list[int]:
    return [gap for gaps in o.collector.gaps.values() for gap in gaps]


def _tpot_mean(o: Outcome) -> float | None:
    means = [Fraction(sum(gaps), len(gaps)) for gaps in o.collector.gaps.values() if gaps]
    return float(sum(means) / len(means) / NS_PER_MS) if means else None


def _ttft_mean(o: Outcome) -> float | None:
    c = o.collector
    waits = [end - c.arrival[sequence] for sequence, end in c.prompt_end.items()]
    return _ms(sum(waits), len(waits))


def _label(label: str) -> Callable[[Outcome], Value]:
    return lambda o: _ms(o.collector.decode.labels[label], o.collector.decode.tokens)


def _stall(o: Outcome) -> Value:
    c = o.collector
    return _ms(sum(c.decode.labels[f"stall_{name}"] for name in c.links), c.decode.tokens)


def _mass(name: str) -> Callable[[Outcome], Value]:
    def share(o: Outcome) -> Value:
        total = sum(o.collector.mass.values())
        return round(o.collector.mass[name] / total, 9) if total else None

    return share


def _count(name: str) -> Callable[[Outcome], Value]:
    return lambda o: o.collector.counts[name]


def _bytes(name: str) -> Callable[[Outcome], Value]:
    return lambda o: o.link_bytes.get(name)


def _miss_penalty(o: Outcome) -> Value:
    totals = o.collector.decode
    units = totals.lookups * o.expert_bytes
    return float(totals.demand_bytes / units) if units else None


def _perplexity(o: Outcome) -> Value:
    """Return the estimate of ``results.quality``; None without one, or if more than precision is lost."""
    mass = o.collector.mass
    total = sum(mass.values())
    if o.loss is None or not total or mass["substituted"] or mass["deferred"] or mass["skipped"]:
        return None
    return round(o.loss.percent * mass["low"] / total, 6)


def _cpu_hit_rate(o: Outcome) -> Value:
    counts = o.collector.counts
    return ratio(counts["found_in_dram"], counts["not_in_top"]) if o.dram_is_next else None


def _late_rate(o: Outcome) -> Value:
    return ratio(o.collector.counts["late"], o.collector.counts["lookups"])


METRICS = (
    Metric("tokens_per_second", "decoded tokens / time in passes that decode",
           lambda o: _per_s(o.collector.decode.tokens, o.collector.decode.ns), heading="tokens\n/s"),
    Metric("throughput_tokens_per_second", "prompt and decoded tokens / all time",
           lambda o: _per_s(o.collector.decode.tokens + o.collector.prefill.tokens, o.collector.end_ns)),
    Metric("ttft_ms_mean", "arrival to the end of the last prompt pass", _ttft_mean, heading="TTFT\nms"),
    Metric("tpot_ms_mean", "mean over requests of the mean gap between tokens", _tpot_mean,
           heading="TPOT\nms"),
    Metric("tpot_ms_p50", "median gap between tokens", lambda o: _percentile(_gaps(o), 50)),
    Metric("tpot_ms_p95", "95th percentile of the gaps", lambda o: _percentile(_gaps(o), 95)),
    Metric("tpot_ms_p99", "99th percentile of the gaps", lambda o: _percentile(_gaps(o), 99)),
    Metric("hit_rate", "hits / lookups",
           lambda o: ratio(o.collector.counts["hits"], o.collector.counts["lookups"]), heading="hit\nrate"),
    Metric("hit_rate_decode", "hits / lookups of passes that decode",
           lambda o: ratio(o.collector.decode.hits, o.collector.decode.lookups),
           heading="hit\nrate,\ndecode"),
    Metric("hit_rate_prefill", "hits / lookups of prompt passes",
           lambda o: ratio(o.collector.prefill.hits, o.collector.prefill.lookups)),
    Metric("cpu_hit_rate", "found in DRAM / not found on the GPU",
           _cpu_hit_rate),
    Metric("late_rate", "late / lookups", _late_rate),
    Metric("lookups", "distinct experts demanded, over all layer steps", _count("lookups")),
    Metric("hits", "lookups that found an acceptable version", _count("hits")),
    Metric("late", "lookups that found one on its way", _count("late")),
    Metric("misses", "lookups that found neither", _count("misses")),
    Metric("misses_fetched", "misses that were loaded", _count("fetched")),
    Metric("misses_cpu", "misses computed on the CPU", _count("on_cpu")),
    Metric("misses_deferred", "misses computed on the CPU for a later layer's combine", _count("deferred")),
    Metric("misses_substituted", "misses served by another expert", _count("substituted")),
    Metric("misses_skipped", "misses left out", _count("skipped")),
    Metric("miss_penalty", "bytes of loaded misses / lookups, in experts at main precision", _miss_penalty),
    Metric("prefetch_accuracy", "useful / started prefetches", lambda o: ratio(o.useful, o.started)),
    Metric("prefetch_coverage", "useful / (useful + misses)",
           lambda o: ratio(o.useful, o.useful + o.collector.counts["misses"]) if o.started else None),
    Metric("started_prefetches", "speculative transfers that were started", lambda o: o.started),
    Metric("unused_prefetches", "of these, evicted unused (or unused at the end)", lambda o: o.unused),
    Metric("cancelled_prefetches", "of these, cancelled (or under way at the end)", lambda o: o.cancelled),
    Metric("dropped_prefetches", "speculative transfers that never started", lambda o: o.dropped),
    Metric("wasted_bytes", "bytes moved by prefetches that were not useful", lambda o: o.wasted_bytes),
    Metric("bytes_ssd_to_cpu", "bytes carried", _bytes("ssd_to_cpu")),
    Metric("bytes_cpu_to_gpu", "bytes carried", _bytes("cpu_to_gpu")),
    Metric("bytes_gpu_to_cpu", "bytes carried", _bytes("gpu_to_cpu")),
    Metric("bytes_ssd_to_gpu", "bytes carried", _bytes("ssd_to_gpu")),
    Metric("peak_gpu_bytes", "most bytes of experts in the GPU's cache", lambda o: o.peak_bytes.get("gpu")),
    Metric("peak_cpu_bytes", "most bytes of experts in the CPU's cache", lambda o: o.peak_bytes.get("cpu")),
    Metric("token_cycle_bytes", "bytes of the experts that one token asks for, over all layers",
           lambda o: o.token_cycle_bytes),
    Metric("dense_ms_per_token", "of a decoded token", _label("dense")),
    Metric("expert_compute_ms_per_token", "of a decoded token", _label("expert_compute")),
    Metric("cpu_expert_wait_ms_per_token", "of a decoded token", _label("cpu_expert_wait")),
    Metric("stall_ms_per_token", "of a decoded token, all links", _stall, heading="stall\nms\n/token"),
    Metric("stall_cpu_to_gpu_ms_per_token", "of a decoded token", _label("stall_cpu_to_gpu")),
    Metric("stall_ssd_to_cpu_ms_per_token", "of a decoded token", _label("stall_ssd_to_cpu")),
    Metric("stall_ssd_to_gpu_ms_per_token", "of a decoded token", _label("stall_ssd_to_gpu")),
    Metric("overhead_ms_per_token", "of a decoded token", _label("overhead")),
    Metric("host_ms_per_token", "of a decoded token, the main unit waiting for the engine's software",
           _label("host")),
    Metric("gate_mass_high", "share of gate mass computed at main precision", _mass("high")),
    Metric("gate_mass_low", "share computed at a lower precision", _mass("low")),
    Metric("gate_mass_substituted", "share served by another expert", _mass("substituted")),
    Metric("gate_mass_deferred", "share combined in a later layer", _mass("deferred")),
    Metric("gate_mass_skipped", "share left out", _mass("skipped")),
    Metric("perplexity_increase_percent", "estimated from a published loss, in proportion to the mass",
           _perplexity),
    Metric("perplexity_source", "who published that loss",
           lambda o: o.loss.source if o.loss and _perplexity(o) is not None else None),
    Metric("belady_hit_rate", "bound: same capacity, partition and demand, forced admission",
           lambda o: o.belady, heading="Belady\nhit\nrate"),
    Metric("belady_kind", "exact, heuristic where sizes differ, or why there is none",
           lambda o: o.belady_kind),
)  # fmt: skip


def summarise(outcome: Outcome) -> dict[str, Value]:
    """Return all metrics of a run, in the order of the columns."""
    return {metric.name: metric.compute(outcome) for metric in METRICS}
