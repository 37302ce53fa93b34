"""The experiment file: what is replayed, on what, under which policies, over which sweep."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from simulator.config.units import BYTES, Bytes, BytesPerSecond, Nanoseconds, parse_bytes, quantity_schema
from simulator.errors import InputError
from simulator.experiment.json_schema import Also
from simulator.experiment.tune import Tune
from simulator.model.precision import ExpertPrecision, UniformPrecision

Positive = Annotated[int, Field(gt=0, strict=True)]
Share = Annotated[float, Field(gt=0, le=1, strict=True)]
PolicyName = str | dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Workload(_Strict):
    """Which sequences run, how many at a time, and how prompts are cut (``prefill_chunk: 0`` is whole).

    Of what is replayed, the first ``max_sequences``, and of each its prompt and first ``max_decode_tokens``.
    """

    batch_size: Positive = 1
    max_sequences: Positive | None = None
    max_decode_tokens: Positive | None = None
    prefill_chunk: Annotated[int, Field(ge=0, strict=True)] = 0
    mixed: StrictBool = False


class CacheSize(_Strict):
    """A cache by size, by its share of all experts at main precision, by experts a layer, or what fits."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "maxProperties": 1,
            "patternProperties": {"": {"not": {"type": "null"}}},
        }
    )

    bytes: Bytes | None = None
    fraction: Share | None = None
    experts_per_layer: Positive | None = None
    max: Literal[True] | None = None


def _cache_size(value: object) -> object:
    if isinstance(value, (dict, CacheSize)) or value is None:
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError(
                "give one of fraction, experts_per_layer, bytes; a size such as '12 GiB'; or max"
            )
        if isinstance(value, dict) and None in value.values():
            raise ValueError(f"{next(iter(value))} is empty; give it a value, such as '12 GiB' or 0.25")
        return value
    if value == "max":
        return CacheSize.model_construct(max=True)
    return CacheSize.model_construct(bytes=parse_bytes(value))


def _size_schema() -> dict[str, Any]:
    return {"anyOf": [*quantity_schema(BYTES)["anyOf"], {"const": "max"}]}


Cache = Annotated[CacheSize, BeforeValidator(_cache_size), Also(_size_schema)]


class Memory(_Strict):
    """Caches of experts by tier; ``max`` is all that fits.

    Without a CPU cache, a machine with a GPU keeps all experts in DRAM.
    ``kv: reserve`` sets the KV cache of the longest context aside; ``grow`` takes it from the GPU's
    expert cache as the contexts grow.
    """

    gpu_expert_cache: Cache | None = None
    cpu_expert_cache: Cache | None = None
    kv: Literal["reserve", "grow"] = "reserve"


def _all_different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a precision twice; each version has its own")
    return names


class Precisions(_Strict):
    """Precisions of the experts, best first (``main``, the default, is the model's own), and of all else.

    ``shares`` divides the GPU's expert cache among them; without it they share one.
    """

    experts: (
        Annotated[tuple[ExpertPrecision, ...], Field(min_length=1), AfterValidator(_all_different)] | None
    ) = None
    shares: tuple[Share, ...] | None = None
    dense: UniformPrecision | None = None


class Policies(_Strict):
    """One policy for each axis: a name, or ``{name: ..., parameter: ...}``, or ``path/to/file.py:Class``."""

    eviction: PolicyName = "lru"
    cpu_eviction: PolicyName | None = None
    admission: PolicyName = "always"
    partition: PolicyName = "global"
    prefetch: PolicyName = "none"
    precision: PolicyName = "fixed"
    placement: PolicyName = "fetch"
    routing: PolicyName = "as-recorded"
    order: PolicyName = "as-routed"


class OverheadConfig(_Strict):
    """What the runtime's thread costs: per pass, per miss, and by bytes loaded and evicted (as rates)."""

    per_pass: Nanoseconds = 0
    per_miss: Nanoseconds = 0
    load_rate: BytesPerSecond = 0
    evict_rate: BytesPerSecond = 0
    when: Literal["before", "beside"] = "before"


class Runtime(_Strict):
    """How the inference engine moves and computes experts; docs/timing.md defines each word.

    ``read_block`` is what one read from the SSD gets (0: all that is asked for).
    """

    overlap: Literal["expert", "in_order", "layer"] = "expert"
    parts: Positive | Literal["tensors"] = 1
    parts_order: Literal["expert", "matrix"] = "expert"
    evict: Literal["on_insert", "after_event"] = "on_insert"
    preemption: Literal["chunk", "none"] = "chunk"
    cancel: Literal["none", "queued", "chunk"] = "queued"
    staging_buffers: Positive = 2
    host_staging_chunks: Positive = 8
    tiers: Literal["inclusive", "exclusive"] = "inclusive"
    read_block: Bytes = 0
    overhead: OverheadConfig = OverheadConfig()


def _machine(value: object) -> object:
    """Return the text of a machine of parts, which may be given as a mapping."""
    from simulator.machine.parts import as_text

    if not isinstance(value, dict):
        return value
    try:
        return as_text(value)
    except InputError as error:
        raise ValueError(f"{error.where.partition('.')[2]}: {error.what}; {error.hint}") from None


def _parts_schema() -> dict[str, Any]:
    from simulator.machine.compose import Composition

    return Composition.model_json_schema()


Grid = dict[str, Annotated[list[Any], Field(min_length=1)]]


class Sweep(_Strict):
    """All combinations of the grid's values (dotted keys), each with every seed.

    ``grids`` are several, one after another, each together with ``grid``. ``list`` has entries, and ``zip``
    lists of equal length that are walked side by side; the grid is combined with each. A run that has all
    values of an entry of ``exclude`` is left out.
    """

    grid: Grid = {}
    grids: tuple[Grid, ...] = ()
    zip: Grid = {}
    list: tuple[Annotated[dict[str, Any], Field(min_length=1)], ...] = ()
    exclude: tuple[Annotated[dict[str, Any], Field(min_length=1)], ...] = ()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], Field(min_length=1)] = (0,)


class Experiment(_Strict):
    """One YAML file; ``system`` names policies and settings that the file's own lie over.

    Without ``software`` it is the system's own, or ideal where there is no system or it names none.

    ``training_trace`` is where policies learn what they know beforehand; ``training_share`` has them learn it
    from so much of the trace, whole sequences from the first on, which no run then replays. ``extends`` names
    an experiment that this one says the differences to; it is resolved before this model sees the file.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["training_trace", "training_share"],
                "properties": {"training_trace": {"type": "string"}, "training_share": {"type": "number"}},
            }
        }
    )

    extends: str | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    model: str
    hardware: Annotated[str, BeforeValidator(_machine), Also(_parts_schema)]
    software: str | None = None
    trace: str
    training_trace: str | None = None
    training_share: Annotated[float, Field(gt=0, lt=1, strict=True)] | None = None
    workload: Workload = Workload()
    system: str | None = None
    policies: Policies = Policies()
    runtime: Runtime = Runtime()
    memory: Memory = Memory()
    precision: Precisions = Precisions()
    sweep: Sweep = Sweep()
    tune: Tune | None = None
    figures: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_to_learn_from(self) -> Experiment:
        if self.training_trace is not None and self.training_share is not None:
            raise ValueError(
                "training_trace and training_share are both named; keep one, and set the other to null"
            )
        return self


class System(_Strict):
    """A preset: what it stands for, and the software, policies, settings and precisions that make it."""

    name: str
    title: str
    cite: str = ""
    notes: str = ""
    software: str | None = None
    policies: dict[str, PolicyName] = {}
    runtime: dict[str, Any] = {}
    precision: dict[str, Any] = {}
