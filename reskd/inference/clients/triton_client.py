"""Classify a video by NVIDIA Triton: triton_client.py localhost:8001 clip.mp4 [reskd]; see docs/deploy.md.

Needs tritonclient[grpc], av and numpy, and the files run_onnx.py and config.json beside this one.
"""

import json
import sys
from pathlib import Path

import run_onnx
from tritonclient.grpc import InferenceServerClient, InferInput

server, video, model = [*sys.argv[1:], "reskd"][:3]
about = json.loads(Path(__file__).with_name("config.json").read_text(encoding="utf-8"))
clip = run_onnx.read_clip(video, about, whole=True)  # the server crops and resizes
print(f"{video}: {clip.note}.", file=sys.stderr)
client = InferenceServerClient(server)
names = [given.name for given in client.get_model_metadata(model).inputs]
inputs = []
for name, dtype, values in (("frames", "UINT8", clip.frames[None]), ("valid", "BOOL", clip.valid[None])):
    if name in names:
        inputs.append(InferInput(name, values.shape, dtype))
        inputs[-1].set_data_from_numpy(values)
logits = client.infer(model, inputs).as_numpy("logits")[0]
print(json.dumps({"file": video, "answers": run_onnx.best_answers(logits, about)}))
