"""Classify a video with an exported student, without this package: run_onnx.py student.onnx VIDEO (docs/deploy.md)."""

import json
import sys

import av
import numpy as np
import onnxruntime


def taps(size, length):  # the two pixels and weights of OpenCV's integer bilinear resize
    low, part = np.divmod(np.float32((np.arange(size) + 0.5) * (length / size) - 0.5), np.float32(1))
    return [(np.int64(low + k).clip(0, length - 1), np.int64(np.rint(abs(1 - k - part) * 2048))) for k in (0, 1)]


session = onnxruntime.InferenceSession(sys.argv[1])
how = json.loads(session.get_modelmeta().custom_metadata_map["reskd"])
video = list((file := av.open(sys.argv[2])).decode(video=0))
aspect = file.streams.video[0].sample_aspect_ratio if how.get("pixel_aspect") == "display" else None
pixel = np.float64(aspect or 1) ** [1, -1]  # width over height, and the reverse
clip = np.array([video[k * len(video) // how["frames"]["of"]].to_rgb().to_ndarray() for k in how["frames"]["at"]], int)
box = np.minimum(clip.shape[1:3], clip.shape[2:0:-1] * (how["crop"]["aspects"] * pixel)) * how["crop"]["ratio"]
y, x = (clip.shape[1:3] - np.rint(box).astype(int)) // 2
clip = clip[:, y:, x:][:, : round(box[0]), : round(box[1])]
for height, width in how["resize"]["sizes"]:
    clip = sum(clip[:, :, at] * weight[:, None] for at, weight in taps(width, clip.shape[2])) >> 4
    clip = (sum(clip[:, at] * weight[:, None, None] >> 16 for at, weight in taps(height, clip.shape[1])) + 2) >> 2
logits = session.run(None, {"frames": clip[None].astype(np.uint8)})[0][0]
print(*sorted(zip(logits.tolist(), how["class_names"], strict=True), reverse=True)[:5], sep="\n")
