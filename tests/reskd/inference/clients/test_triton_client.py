"""The client of Triton against a server in this process, which takes only what the repository's config.pbtxt says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.single_pass.triton_pipeline import run_pipeline
from reskd.cli import run_tool
from reskd.commands import export, predict
from reskd.inference.deployment.quantization import open_session
from tests.conftest import numbered_clip

for package in ("onnx", "onnxscript", "onnxruntime", "nvidia.dali"):
    pytest.importorskip(package, reason="needs the extras [export] and [cuda12]")
pytestmark = pytest.mark.slow

DTYPES = {"UINT8": np.uint8, "BOOL": np.bool_}
# A stand-in for tritonclient.grpc: the few calls of the client, answered by a folder instead of a server.
STAND_IN = """
import json
from types import SimpleNamespace
import numpy as np
SERVED = json.load(open(__file__.replace("grpc.py", "served.json")))

class InferInput:
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, list(shape), dtype

    def set_data_from_numpy(self, values):
        assert values.dtype == {"UINT8": np.uint8, "BOOL": np.bool_}[self.dtype] and list(values.shape) == self.shape
        self.values = values

class InferenceServerClient:
    def __init__(self, url):
        assert url == "localhost:8001"

    def get_model_metadata(self, model):
        return SimpleNamespace(inputs=[SimpleNamespace(name=name) for name in SERVED[model]])

    def infer(self, model, inputs):
        for one in inputs:
            dtype, dims = SERVED[model][one.name]
            assert one.dtype == dtype and one.shape[0] == 1
            assert all(want in (-1, size) for want, size in zip(dims, one.shape[1:], strict=True)), (dims, one.shape)
        assert {one.name for one in inputs} == set(SERVED[model])
        return SimpleNamespace(as_numpy=lambda name: {"logits": np.array([[0.0, 2.0, 1.0]], np.float32)}[name])
"""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_clip(tmp_path_factory.mktemp("clips") / "a.mp4", "libx264", 11, height=90, width=140)


def inputs_of(config: str) -> dict[str, tuple[str, list[int]]]:
    """name -> (dtype, dims without the batch) of the inputs that a config.pbtxt lists."""
    listed = config.partition("input [")[2].partition("\n]")[0]
    found = re.findall(r'name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([-\d, ]+) \]', listed)
    return {name: (dtype, [int(size) for size in dims.split(",")]) for name, dtype, dims in found}


def run_client(folder: Path, *arguments: object, packages: Path | None = None) -> dict[str, Any]:
    command = [sys.executable, str(folder / "triton_client.py"), *map(str, arguments)]
    environment = {"PATH": "", "PYTHONPATH": str(packages)} if packages else None
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "took the frames 1, 6 of 11" in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_client_is_short() -> None:
    lines = (Path(export.__file__).parents[1] / "inference/clients/triton_client.py").read_text().splitlines()
    assert len([line for line in lines if line.strip() and "import" not in line]) <= 22


def test_the_client_sends_what_config_pbtxt_says(exported: Path, video: Path, tmp_path: Path) -> None:
    served = {"reskd": inputs_of((exported / "triton/reskd/config.pbtxt").read_text())}
    assert served["reskd"] == {"frames": ("UINT8", [2, -1, -1, 3])}
    stand_in = tmp_path / "tritonclient"
    stand_in.mkdir()
    (stand_in / "__init__.py").touch()
    (stand_in / "grpc.py").write_text(STAND_IN)
    (stand_in / "served.json").write_text(json.dumps(served))
    answer = run_client(exported, "localhost:8001", video, packages=tmp_path)
    assert [one["class"] for one in answer["answers"]] == ["right", "up", "left"]
    assert answer["file"] == str(video) and answer["answers"][0]["logit"] == 2


class Served:
    """Models of a repository over Triton's own protocol, run as the ensemble does; needs tritonclient[grpc]."""

    def __init__(self, repository: Path, service: Any, messages: Any) -> None:
        self._repository, self._messages = repository, messages
        self.num_requests = 0
        self._lock = threading.Lock()
        methods = {"ModelMetadata": self._metadata, "ModelInfer": self._infer}
        self.servicer = type("Servicer", (service.GRPCInferenceServiceServicer,), methods)()

    def _inputs(self, model: str) -> dict[str, tuple[str, list[int]]]:
        return inputs_of((self._repository / model / "config.pbtxt").read_text())

    def _metadata(self, request: Any, context: Any) -> Any:
        answer = self._messages.ModelMetadataResponse(name=request.name)
        for name, (dtype, dims) in self._inputs(request.name).items():
            answer.inputs.add(name=name, datatype=dtype, shape=[-1, *dims])
        return answer

    def _infer(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.num_requests += 1
        expected = self._inputs(request.model_name)
        given = {}
        for one, content in zip(request.inputs, request.raw_input_contents, strict=True):
            dtype, dims = expected[one.name]
            assert one.datatype == dtype
            assert all(want in (-1, size) for want, size in zip(dims, one.shape[1:], strict=True))
            given[one.name] = np.frombuffer(content, DTYPES[dtype]).reshape(one.shape)
        views = run_pipeline(self._repository / "reskd_preprocessing/1/model.dali", [given["frames"][0]])
        session, names = open_session(self._repository / "reskd_student/1/model.onnx", num_threads=1)
        logits = session(dict(zip(names, (np.stack(views),), strict=False)))
        answer = self._messages.ModelInferResponse(model_name=request.model_name)
        answer.outputs.add(name="logits", datatype="FP32", shape=logits.shape)
        answer.raw_output_contents.append(logits.astype(np.float32).tobytes())
        return answer


@pytest.fixture
def server(exported: Path) -> Iterator[tuple[str, Served]]:
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    served = Served(exported / "triton", service_pb2_grpc, service_pb2)
    running = grpc.server(futures.ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(served.servicer, running)
    port = running.add_insecure_port("localhost:0")
    running.start()
    yield f"localhost:{port}", served
    running.stop(None)


def test_over_the_protocol_it_answers_as_predict_does(
    server: tuple[str, Served],
    exported: Path,
    checkpoint: Path,
    video: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, served = server
    answer = run_client(exported, url, video)
    assert served.num_requests == 1
    assert run_tool(predict.main, [str(checkpoint), str(video), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert answer.keys() == expected.keys()
    assert [one["class"] for one in answer["answers"]] == [one["class"] for one in expected["answers"]]
    logits = [one["logit"] for one in expected["answers"]]
    assert [one["logit"] for one in answer["answers"]] == pytest.approx(logits, abs=0.1)  # DALI's views, by a level
