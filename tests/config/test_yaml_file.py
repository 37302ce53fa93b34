"""YAML is read strictly: every fault is one line with file, line, key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from simulator import data
from simulator.config.units import Bytes
from simulator.config.yaml_file import dump_yaml, find_named, load_yaml, read_yaml, validate_mapping
from simulator.errors import InputError
from simulator.experiment.sweep import parse_set


class Round(BaseModel):
    """A member of a union."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["round"]
    radius: int


class Square(BaseModel):
    """Another."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["square"]
    side: int


class Cache(BaseModel):
    """A nested mapping."""

    model_config = ConfigDict(extra="forbid")
    size: Bytes
    policy: Literal["lru", "lfu"] = "lru"


class Top(BaseModel):
    """Everything that the tests need."""

    model_config = ConfigDict(extra="forbid")
    name: str
    cache: Cache
    shapes: tuple[Annotated[Round | Square, Field(discriminator="kind")], ...] = ()
    caches: dict[Literal["gpu", "cpu"], Cache] = {}
    maybe: Cache | None = None


GOOD = "name: x\ncache:\n  size: 1 GiB\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "f.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_as_yaml_1_2_has_them_and_words_that_look_like_them(tmp_path: Path) -> None:
    path = written(tmp_path, "a: [1e-4, 5e9, -2.5E+3, .5e1, 1.0e-4, 1e, e5, 1e4x, '1e4', 0.1]\n")
    read = read_yaml(path).data
    assert read == {"a": [1e-4, 5e9, -2500.0, 5.0, 1e-4, "1e", "e5", "1e4x", "1e4", 0.1]}
    assert read_yaml(written(tmp_path, dump_yaml(read))).data == read
    assert parse_set("runtime.x=2e-3") == ("runtime.x", 0.002)


def test_good_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, GOOD + "shapes: [{kind: round, radius: 3}]\nmaybe: &c {size: 1 kB}\ncaches: {gpu: *c}\n"
    )
    top = load_yaml(path, Top)
    assert (top.cache.size, top.shapes[0], top.caches["gpu"].size) == (
        1024**3,
        Round(kind="round", radius=3),
        1000,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "nam: y\n", ":4: nam: unknown key; did you mean 'name'?"),
        (
            "name: x\ncache:\n  sise: 1 GiB\n",
            ":3: cache.sise: unknown key; did you mean 'size'? (and 1 more)",
        ),
        (GOOD + "maybe: {size: 1 B, polcy: lru}\n", ":4: maybe.polcy: unknown key; did you mean 'policy'?"),
        (
            GOOD + "caches:\n  gpu: {size: 1 B,\n    zzz: 1}\n",
            ":6: caches.gpu.zzz: unknown key; allowed: policy, size",
        ),
        (
            GOOD + "shapes:\n- kind: round\n  radius: 1\n- kind: square\n  sid: 2\n",
            ":8: shapes.1.sid: unknown key",
        ),
        (GOOD + "shapes:\n- kind: oval\n", ":5: shapes.0: not allowed ('oval'); allowed: round, square"),
        (GOOD + "caches: {gpv: {size: 1 B}}\n", ":4: caches.gpv: not allowed ('gpv'); did you mean 'gpu'?"),
        (
            "name: x\ncache:\n  size: 1 GB/s\n",
            ":3: cache.size: wrong unit 'GB/s' ('1 GB/s'); did you mean 'GB'?",
        ),
        ("name: x\ncache:\n  size: -1 GiB\n", ":3: cache.size: negative ('-1 GiB'); a size is 0 or more"),
        ("name: x\ncache:\n  size: 12\n", ":3: cache.size: no unit (12); expected a size with a unit"),
        (
            "name: x\ncache:\n  size: 1 B\n  policy: lruu\n",
            ":4: cache.policy: not allowed ('lruu'); did you mean 'lru'?",
        ),
        ("name: x\ncache:\n  policy: lru\n", ":2: cache.size: missing key"),
        ("name: x\n", ":1: cache: missing key"),
        ("name: x\ncache: 3 GiB\n", ":2: cache: not a mapping ('3 GiB'); its keys: policy, size"),
        ("name: [1]\ncache: {size: 0}\n", ":1: name: input should be a valid string ([1])"),
        (GOOD + "name: y\n", ":4: name: duplicate key; first on line 1"),
        (GOOD + "caches: {gpu: {size: 0, size: 0}}\n", ":4: caches.gpu.size: duplicate key"),
        ("name: x\n  cache: y\n", ":2: not valid YAML"),
        ("name: 'x\n", "not valid YAML"),
        ("- a\n", ":1: not a mapping"),
        ("", "is empty"),
        ("# nothing\n", "missing key"),
        ("name: !!python/object:os.system x\n", ":1: not valid YAML"),
        ("name: !!set {x}\n", ":1: tag tag:yaml.org,2002:set"),
        ("a: &a\n  <<: *a\n", "merge key '<<'"),
        ("name: &a [*a]\n", ":1: an alias that contains itself"),
        ("? [1]\n: x\n", ":1: a key that is a list"),
    ],
)
def test_faults(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_yaml(path, Top)
    assert f"{path}{says}" in str(caught.value) or (not says.startswith(":") and says in str(caught.value))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_yaml(tmp_path / "b.yaml")


def test_a_document_can_be_changed_and_still_knows_its_lines(tmp_path: Path) -> None:
    document = read_yaml(written(tmp_path, GOOD))
    document.data["cache"]["size"] = "2 XiB"
    with pytest.raises(InputError, match=r"f.yaml:3: cache.size: wrong unit 'XiB'"):
        document.validate(Top)


def test_mappings_without_a_file() -> None:
    with pytest.raises(InputError, match=r"^--set: cache.policy: not allowed \('x'\)"):
        validate_mapping({"name": "x", "cache": {"size": 0, "policy": "x"}}, Top, "--set")
    with pytest.raises(InputError, match=r"^--set: shapes.0.radius: missing key"):
        validate_mapping({"name": "x", "cache": {"size": 0}, "shapes": [{"kind": "round"}]}, Top, "--set")


def test_names_and_paths(tmp_path: Path) -> None:
    assert find_named("models", "mixtral-8x7b") == data.folder("models") / "mixtral-8x7b.yaml"
    assert find_named("models", str(written(tmp_path, GOOD))) == tmp_path / "f.yaml"
    with pytest.raises(InputError, match=r"mixtral-8x7: unknown model; did you mean 'mixtral-8x7b'\?"):
        find_named("models", "mixtral-8x7")
    with pytest.raises(InputError, match=r"unknown hardware profile; did you mean 'rtx4090-pcie4'\?"):
        find_named("hardware_profiles", "rtx4090")
    with pytest.raises(InputError, match="no such file"):
        find_named("models", str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="no such file"):
        find_named("traces", "none.parquet")


def test_data_folders() -> None:
    for kind in data.SUFFIX:
        assert data.folder(kind).is_dir()
    assert "qwen1.5-moe-a2.7b" in data.names("models")
    assert data.names("models") == tuple(sorted(data.names("models")))


def test_what_grows_without_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 5000, encoding="utf-8")
    with pytest.raises(InputError, match="nested too deeply"):
        read_yaml(tmp_path / "deep.yaml")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="more than 100,000 values; aliases count each time"):
        read_yaml(tmp_path / "bomb.yaml")
