"""The script of docs/guides/vllm.md works, against a server that answers as vLLM's documentation says."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.places import ROOT

GUIDE = ROOT / "docs" / "guides" / "vllm.md"
LAYERS, K, GENERATED = 48, 8, 3  # Qwen3-30B-A3B


def experts(prompt: str) -> Any:
    """Return the experts of a prompt of as many tokens as words, and of all but the last token after it."""
    noise = np.random.default_rng(len(prompt)).random((len(prompt.split()) + GENERATED - 1, LAYERS, 128))
    return noise.argsort(axis=-1)[..., :K]


class Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked["model"] == "Qwen/Qwen3-30B-A3B" and self.path == "/v1/completions"
        array = io.BytesIO()
        np.save(array, experts(asked["prompt"]).astype(np.uint8))
        usage = {"prompt_tokens": len(asked["prompt"].split()), "completion_tokens": GENERATED}
        routed = base64.b64encode(array.getvalue()).decode()
        answer = {"choices": [{"text": "the text", "routed_experts": routed}], "usage": usage}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/completions"
    server.shutdown()
    server.server_close()


def test_prompts_to_trace(url: str, tmp_path: Path) -> None:
    script = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "ask.py").write_text(script)
    prompts = ["A mill stood by the river.", "It ran."]
    (tmp_path / "prompts.txt").write_text("\n\n".join(prompts) + "\n")
    words = [sys.executable, "ask.py", url, "Qwen/Qwen3-30B-A3B", "prompts.txt", "answers.jsonl"]
    environment = {"no_proxy": "127.0.0.1"}
    subprocess.run(words, cwd=tmp_path, check=True, env=environment, timeout=60)
    trace = import_trace(tmp_path / "answers.jsonl", "routed-experts", ImportOptions(model="qwen3-30b-a3b"))
    np.testing.assert_array_equal(trace.experts, np.concatenate([experts(prompt) for prompt in prompts]))
    assert trace.phase.tolist() == [0] * 6 + [1] * 2 + [0] * 2 + [1] * 2
    assert (trace.header.n_experts, trace.header.top_k, trace.token_id) == (128, 8, None)
