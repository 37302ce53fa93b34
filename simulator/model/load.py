"""A model by name or by path."""

from __future__ import annotations

from pathlib import Path

from simulator.config.paths import no_such_file
from simulator.config.yaml_file import find_named, load_yaml
from simulator.model.hf_config import read_hf_config
from simulator.model.spec import ModelSpec


def load_model(name_or_path: str) -> ModelSpec:
    """Return the model of a name in models/, a YAML file, a config.json, or a folder that holds one."""
    path = Path(name_or_path).expanduser()
    if "/" in name_or_path and path.is_dir():
        path = path / "config.json"
    if path.suffix == ".json":
        if not path.exists():
            raise no_such_file(path)
        return read_hf_config(path)
    return load_yaml(find_named("models", name_or_path), ModelSpec)
