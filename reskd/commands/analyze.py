"""Measure the cost of a model, draw what trained networks look at, or predict a training on many GPUs.

    reskd analyze flops configs/demo/student.yaml
    reskd analyze flops --model backbone=resnet50 --frames 16 --sizes 224 144 112 96 72 56
    reskd analyze flops --model family=swin backbone=swin3d_s --frames 32 --views 12 --sizes 224 112
    reskd analyze flops --num-classes 4716 --frames 300 30 \\
        --model family=features aggregator.kind=nextvlad classifier.kind=logistic
    reskd analyze throughput --model backbone=resnet50 --frames 16 --sizes 224 112 --batch 64 --precision fp16
    reskd analyze receptive-field runs/demo_teacher runs/demo_baseline runs/demo_student --out fields
    reskd analyze attention runs/demo_teacher runs/demo_baseline runs/demo_student --clips 6 --out overlays
    reskd analyze scaling docs/results/scaling/h200_predicted.yaml --clips 1e9

flops and throughput: give a config to measure its student (flops: and its teacher) with the frames, sizes and views of
that config; key.sub=value changes its settings as in train.py. Or give --model with the settings of a model alone.
Several --sizes or --frames are compared in one table. Nothing is downloaded, and no video is read. throughput appends
its rows to docs/results/throughput.csv.

receptive-field and attention: give the folders of trained runs on the same data; each run's student is drawn, which in
the run of a teacher is the teacher. Both read videos of the test list (--split val: of the validation list).

scaling: give the rates of one process, to see what limits many (see docs/scaling.md).
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from reskd.analysis.arguments import add_attention_arguments, add_receptive_field_arguments
from reskd.choices import PrecisionChoice, ThroughputMode
from reskd.cli import add_overrides, command_parser, positive
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run
from reskd.scaling.arguments import add_scaling_arguments

if TYPE_CHECKING:
    from reskd.models.config import RecognizerConfig
    from reskd.models.recognizer import Shape
    from reskd.profiling.flops import MacCount
    from reskd.profiling.throughput import Row

_NUM_CLASSES = 200
CSV = Path("docs/results/throughput.csv")
log = logging.getLogger(__name__)

_LEGEND = """\
GMACs: 1e9 multiply-accumulates for one video, all its views; papers call them GFLOPs. "between frames" are those that
mix several frames (3-D kernels, attention, an aggregator without its layers on single frames), "one frame by itself"
is the rest without the head, per frame.
"as the paper counts": the ResKD paper's counter adds normalization (2 per element), ReLU and max pooling (1 each), and
leaves out attention's two products, which are not layers."""


class _Asked(NamedTuple):
    """A model to be analyzed, at one or more sizes."""

    title: str
    config: RecognizerConfig
    shapes: list[Shape]
    num_test_views: int
    num_classes: int


def main(arguments: Sequence[str]) -> None:
    parser, commands = build_parsers()
    if not arguments or arguments[0] not in commands:
        parser.parse_args(arguments[:1])  # ends the program: no command, an unknown one, or --help
    chosen = commands[arguments[0]].parse_intermixed_args(arguments[1:])
    chosen.run(chosen)


def _flops(chosen: argparse.Namespace) -> None:
    from reskd.profiling.flops import count_recognizer

    for asked in _asked(chosen):
        counts = {
            shape: count_recognizer(
                asked.config, shape, num_classes=asked.num_classes, num_test_views=asked.num_test_views
            )
            for shape in asked.shapes
        }
        print(f"{asked.title}{_describe(asked)}")
        print(flops_table(counts, asked.num_test_views), end="\n\n")
    print(_LEGEND)


def _throughput(chosen: argparse.Namespace) -> None:
    import torch

    from reskd.models.config import network_name
    from reskd.models.families.registry import build_recognizer
    from reskd.profiling.throughput import Sweep, measure_sizes
    from reskd.training.precision import Precision

    asked = _asked(chosen)[0]
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    # The weights do not matter: no kernel's time depends on them.
    without_weights = asked.config.model_copy(update={"weights": "none"})
    model = build_recognizer(without_weights, asked.num_classes).to(device)
    rows = measure_sizes(
        model,
        Sweep(
            sorted(asked.shapes, key=lambda shape: -math.prod(shape)),
            chosen.modes,
            batches=list(dict.fromkeys((chosen.batch, 1))),
        ),
        Precision(chosen.precision, device),
        views=asked.num_test_views,
        rounds=chosen.rounds,
        on_ready=lambda message: log.info("ready: %s", message),
    )
    print(f"{_describe(asked)}, {chosen.precision}, {describe_run(device)['device']}")
    print(throughput_table(rows))
    if not chosen.dry_run:
        about = {**describe_run(device), "family": asked.config.family, "backbone": network_name(asked.config)}
        append_rows(chosen.csv, [{**about, **row.as_columns()} for row in rows])
        print(f"rows appended to {chosen.csv}")


def _asked(chosen: argparse.Namespace) -> list[_Asked]:
    """The student, then the teacher; or the one model of --model."""
    if (chosen.config is None) == (chosen.model is None):
        raise ValueError("expected either a config or --model, found both or neither.")
    return [_asked_by_settings(chosen)] if chosen.config is None else _asked_by_config(chosen)


def _asked_by_settings(chosen: argparse.Namespace) -> _Asked:
    from reskd.experiment.config import recognizer_from
    from reskd.experiment.config_files import read_settings
    from reskd.models.config import FeaturesConfig

    model = recognizer_from(read_settings(chosen.model, where="--model"), where="--model")
    frames = chosen.frames or [8]
    sizes = [(sum(model.groups.values()),)] if isinstance(model, FeaturesConfig) else chosen.sizes or [(224, 224)]
    shapes = [(count, *size) for count in frames for size in sizes]
    return _Asked("", model, shapes, chosen.views or 1, chosen.num_classes or _NUM_CLASSES)


def _asked_by_config(chosen: argparse.Namespace) -> list[_Asked]:
    from reskd.experiment.data import data_of
    from reskd.experiment.networks import teacher_model, view_shapes
    from reskd.experiment.stages import choose_stage, load_stages, teacher_stage
    from reskd.models.config import FeaturesConfig

    configs = load_stages(chosen.config, chosen.overrides)
    config = choose_stage(configs, chosen.stage)
    shapes_of = view_shapes(config)
    num_test_views = chosen.views or data_of(config).test_views("test").num_test_views
    num_classes = chosen.num_classes or getattr(config.data, "num_classes", None) or _NUM_CLASSES
    num_frames, *size = shapes_of["student"]
    sizes = [tuple(size)] if isinstance(config.student, FeaturesConfig) or not chosen.sizes else chosen.sizes
    shapes = [(count, *size) for count in chosen.frames or [num_frames] for size in sizes]
    asked = [_Asked("student: ", config.student, shapes, num_test_views, num_classes)]
    if config.teacher:
        teacher = teacher_model(config, teacher_stage(config, configs))
        asked.append(_Asked("teacher: ", teacher, [shapes_of["teacher"]], num_test_views, num_classes))
    return asked


def _describe(asked: _Asked) -> str:
    from reskd.models.config import network_name

    network = f"{asked.config.family} {network_name(asked.config)}"
    frames = " and ".join(dict.fromkeys(str(shape[0]) for shape in asked.shapes))
    return f"{network}, {frames} frames, {asked.num_test_views} view(s) a video"


def flops_table(counts: dict[Shape, MacCount], num_test_views: int) -> str:
    """A column per size; a line per part, then the sums of Note [What is counted] in GMACs."""
    first = next(iter(counts.values()))
    lines = [["part", "parameters, M", *_labels(list(counts))]]

    def add(name: str, parameters: int | None, values: Sequence[float]) -> None:
        lines.append([name, "" if parameters is None else f"{parameters / 1e6:.3f}", *(f"{v:.3f}" for v in values)])

    for name, part in first.parts.items():
        add(name, part.parameters, [count.parts[name].macs / 1e9 for count in counts.values()])
    add("total, GMACs", first.parameters, [count.total / 1e9 for count in counts.values()])
    add("one frame by itself", None, [c.within_frames / 1e9 / shape[0] / num_test_views for shape, c in counts.items()])
    add("between frames", None, [count.between_frames / 1e9 for count in counts.values()])
    add("head, once a view", None, [count.head / 1e9 for count in counts.values()])
    add("+ elementwise", None, [count.elementwise / 1e9 for count in counts.values()])
    add("- attention products", None, [count.attention_products / 1e9 for count in counts.values()])
    add("= as the paper counts", None, [count.published / 1e9 for count in counts.values()])
    if len(counts) > 1:
        add("times less than first", None, [first.total / count.total for count in counts.values()])
    width = max(len(line[0]) for line in lines)
    return aligned([[line[0].ljust(width), *line[1:]] for line in lines])


def _labels(shapes: Sequence[Shape]) -> list[str]:
    """The shortest distinct labels: the size alone, if the inputs are pixels and all have as many frames."""
    is_size_enough = all(len(shape) == 3 and shape[0] == shapes[0][0] for shape in shapes)
    return ["x".join(map(str, shape[1:] if is_size_enough else shape)) for shape in shapes]


def throughput_table(rows: Sequence[Row]) -> str:
    """A line per size, mode and batch; the median time of a batch with its 20th and 80th percentile."""
    lines = [["mode", "batch", "size", "videos/s", "x largest", "ms a batch", "20 %", "80 %", "cpu ms", "x largest"]]
    labels = _labels([(row.num_frames, row.height, row.width) for row in rows])
    for row, size in zip(rows, labels, strict=True):
        times = (f"{value:.2f}" for value in (row.median_ms, row.p20_ms, row.p80_ms, row.cpu_ms))
        speed = (f"{row.videos_per_second:.3f}", f"{row.times_largest:.2f}")
        lines.append([row.mode, str(row.batch), size, *speed, *times, f"{row.cpu_times_largest:.2f}"])
    return aligned(lines)


def build_parsers() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The tool's parser, and each command's by name. argparse cannot intermix options and settings with subcommands."""
    parser = command_parser("analyze", __doc__)
    commands = parser.add_subparsers(required=True)
    flops = commands.add_parser("flops", help="multiply-accumulates and parameters of each part of the model")
    flops.set_defaults(run=_flops)
    _add_model_arguments(flops)
    throughput = commands.add_parser(
        "throughput", help="videos per second and the time of one video, for one or several input sizes"
    )
    throughput.set_defaults(run=_throughput)
    _add_model_arguments(throughput)
    _add_throughput_arguments(throughput)
    field = commands.add_parser(
        "receptive-field", help="which pixels a position of the last feature map depends on, and how widely"
    )
    add_receptive_field_arguments(field)
    attention = commands.add_parser("attention", help="where in the frames networks see evidence for a class")
    add_attention_arguments(attention)
    scaling = commands.add_parser("scaling", help="step times of many processes, predicted from the rates of one")
    add_scaling_arguments(scaling)
    return parser, {
        "flops": flops,
        "throughput": throughput,
        "receptive-field": field,
        "attention": attention,
        "scaling": scaling,
    }


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file of an experiment")
    add_overrides(parser)
    parser.add_argument("--stage", metavar="NAME", help="which stage, if the config has several")
    parser.add_argument("--model", nargs="+", metavar="KEY=VALUE", help="settings of a model, instead of a config")
    parser.add_argument("--frames", type=positive, nargs="+", help="frames of a clip; default: the config's, or 8")
    parser.add_argument(
        "--sizes", type=_size, nargs="+", metavar="S", help="frame sizes: side of a square, or HEIGHTxWIDTH"
    )
    parser.add_argument(
        "--num-classes", type=positive, help=f"default: the config's data.num_classes, or {_NUM_CLASSES}"
    )
    parser.add_argument(
        "--views", type=positive, help="clips times crops of a video; default: as the config tests, or 1"
    )


def _add_throughput_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch",
        type=positive,
        default=64,
        help="clips at once; 1 clip at a time is measured too (default %(default)s)",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=get_args(ThroughputMode),
        default=["eager"],
        help="how the model runs (default: eager)",
    )
    parser.add_argument("--precision", choices=get_args(PrecisionChoice), default="fp32", help="default %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU if there is one")
    parser.add_argument("--threads", type=positive, help="threads of the CPU; default: torch's own choice")
    parser.add_argument("--rounds", type=positive, default=15, help="timed batches of each size (default %(default)s)")
    parser.add_argument("--csv", type=Path, default=CSV, help="file that rows are appended to (default %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the results and append no rows")


def _size(text: str) -> tuple[int, int]:
    sides = [positive(side) for side in text.split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected one side, or HEIGHTxWIDTH, found {text!r}")
    return sides[0], sides[-1]
