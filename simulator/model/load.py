"""A model by name or by path."""

from __future__ import annotations

from pathlib import Path

from simulator.config.paths import no_such_file
from simulator.config.yaml_file import find_named, load_yaml
from simulator.model.gguf_model import read_gguf
from simulator.model.hf_config import read_hf_config
from simulator.model.spec import ModelSpec

READERS = {".json": read_hf_config, ".gguf": read_gguf}


def load_model(name_or_path: str) -> ModelSpec:
    """Return the model of a name in models/, a YAML file, a config.json or its folder, or a GGUF file."""
    path = Path(name_or_path).expanduser()
    if "/" in name_or_path and path.is_dir():
        path = path / "config.json"
    if path.suffix in READERS:
        if not path.exists():
            raise no_such_file(path)
        return READERS[path.suffix](path)
    return load_yaml(find_named("models", name_or_path), ModelSpec)
