"""Old names of modules, only for this release: importing one raises an error with the new name.

Delete this file, reskd/renamed.py and the calls of both in the packages' ``__init__.py`` with the next release.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType


class OldNames:
    """The last of Python's import finders: it gets only the names that no other finder knows, and handles old ones.

    A removed folder (reskd.analysis) becomes an empty package, so that Python goes on to import the module in it. A
    folder with the name of an old module (dali_pipes.loader) gets the imports of that module's names.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved
        self._folders = {name.rpartition(".")[0] for name in moved}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        folder, _, last = name.rpartition(".")
        # No ``name=``: with it, ``from reskd import config`` would hide the message.
        if name in self._moved:
            raise ModuleNotFoundError(f"{name} was renamed to {self._moved[name]}; import it from there.")
        if folder in self._moved:
            new = self._moved[folder]
            raise ImportError(
                f"{folder} has no {last}: the module {folder} was renamed to {new}; import it from there."
            )
        return ModuleSpec(name, self, is_package=True) if name in self._folders else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        pass


MOVED = {
    "dali_pipes.annotations.activitynet": "dali_pipes.annotations.published.activitynet",
    "dali_pipes.annotations.annotated": "dali_pipes.annotations.published.base",
    "dali_pipes.annotations.coverage": "dali_pipes.annotations.published.coverage",
    "dali_pipes.annotations.data_sets": "dali_pipes.annotations.published.registry",
    "dali_pipes.annotations.fcvid": "dali_pipes.annotations.published.fcvid",
    "dali_pipes.annotations.kinetics": "dali_pipes.annotations.published.kinetics",
    "dali_pipes.annotations.mini_kinetics": "dali_pipes.annotations.published.mini_kinetics",
    "dali_pipes.annotations.recognise": "dali_pipes.annotations.published.file_kinds",
    "dali_pipes.annotations.something_something": "dali_pipes.annotations.published.something_something",
    "dali_pipes.annotations.video_files": "dali_pipes.annotations.published.video_files",
    "dali_pipes.annotations.write_lists": "dali_pipes.annotations.published.write_lists",
    "dali_pipes.bitstream": "dali_pipes.packets.picture_types",
    "dali_pipes.build_manifests": "dali_pipes.manifest.build",
    "dali_pipes.clip_reader": "dali_pipes.loader.clip_reader",
    "dali_pipes.crops": "dali_pipes.sampling.crops",
    "dali_pipes.decode_cost": "dali_pipes.decode.cost",
    "dali_pipes.demo_clips": "dali_pipes.synthetic.videos",
    "dali_pipes.engines": "dali_pipes.jobs.map_files",
    "dali_pipes.facts": "dali_pipes.video_info",
    "dali_pipes.faults": "dali_pipes.fault_log",
    "dali_pipes.feature_config": "dali_pipes.features.config",
    "dali_pipes.feature_loader": "dali_pipes.features.loader",
    "dali_pipes.feature_manifest": "dali_pipes.features.manifest",
    "dali_pipes.feature_source": "dali_pipes.features.source",
    "dali_pipes.frame_files": "dali_pipes.storage.frame_files",
    "dali_pipes.frame_folders": "dali_pipes.storage.frame_folders",
    "dali_pipes.frame_records": "dali_pipes.features.sequence_example",
    "dali_pipes.frame_samplers": "dali_pipes.sampling.frame_samplers",
    "dali_pipes.frame_selection": "dali_pipes.sampling.student_frames",
    "dali_pipes.frame_times": "dali_pipes.loader.whole_video",
    "dali_pipes.given_videos": "reskd.inference.given_files",
    "dali_pipes.graph": "dali_pipes.loader.dali_graph",
    "dali_pipes.hashing": "dali_pipes.sampling.counter_rng",
    "dali_pipes.host_decode": "dali_pipes.decode.pyav",
    "dali_pipes.host_render": "dali_pipes.loader.cpu_render",
    "dali_pipes.isolated": "dali_pipes.jobs.map_files",
    "dali_pipes.jpeg": "dali_pipes.decode.jpeg",
    "dali_pipes.list_rewrite": "dali_pipes.annotations.lists",
    "dali_pipes.lists": "dali_pipes.annotations.lists",
    "dali_pipes.loader": "dali_pipes.loader.clip_loader",
    "dali_pipes.manifest": "dali_pipes.manifest.manifest",
    "dali_pipes.manifest_cache": "dali_pipes.manifest.build",
    "dali_pipes.nal_units": "dali_pipes.packets.nal_units",
    "dali_pipes.packet_indexer": "dali_pipes.packets.index_builder",
    "dali_pipes.packets": "dali_pipes.packets.packet_index",
    "dali_pipes.places": "dali_pipes.manifest.sources",
    "dali_pipes.probe": "dali_pipes.scan.probe",
    "dali_pipes.progress": "dali_pipes.jobs.progress",
    "dali_pipes.protobuf_wire": "dali_pipes.features.protobuf_wire",
    "dali_pipes.quantisation": "dali_pipes.features.quantization",
    "dali_pipes.record_index": "dali_pipes.features.record_index",
    "dali_pipes.recovery": "dali_pipes.loader.recovery",
    "dali_pipes.recycled_memory": "dali_pipes.features.buffer_pool",
    "dali_pipes.reencode": "dali_pipes.transcode.encode",
    "dali_pipes.remux": "dali_pipes.decode.remux",
    "dali_pipes.render": "dali_pipes.transcode.frame_conversion",
    "dali_pipes.sampling": "dali_pipes.sampling.clip_plan",
    "dali_pipes.sampling_rules": "dali_pipes.sampling.spec",
    "dali_pipes.scan": "dali_pipes.scan.scan",
    "dali_pipes.scan_store": "dali_pipes.scan.store",
    "dali_pipes.shards": "dali_pipes.storage.shards",
    "dali_pipes.source": "dali_pipes.loader.external_source, ReadingOrder to dali_pipes.sampling.order",
    "dali_pipes.splits": "dali_pipes.manifest.splits",
    "dali_pipes.stock_dali": "reskd.profiling.decode.dali_readers",
    "dali_pipes.storage": "dali_pipes.storage_spec",
    "dali_pipes.stretch": "dali_pipes.storage.byte_range",
    "dali_pipes.synthetic_features": "dali_pipes.synthetic.features",
    "dali_pipes.tar_members": "dali_pipes.storage.tar_index",
    "dali_pipes.tfrecord": "dali_pipes.features.tfrecord",
    "dali_pipes.timed_frames": "dali_pipes.loader.whole_video",
    "dali_pipes.transcode": "dali_pipes.transcode.job",
    "dali_pipes.transcode_journal": "dali_pipes.transcode.journal",
    "dali_pipes.transcode_prediction": "dali_pipes.transcode.cost_estimate",
    "dali_pipes.views": "dali_pipes.sampling.spec",
    "dali_pipes.watchdog": "dali_pipes.loader.watchdog",
    "dali_pipes.way_in": "dali_pipes.loader.decoder_choice",
    "dali_pipes.worker_process": "dali_pipes.jobs.worker_process",
}


def install() -> None:
    """Register the old names of this package."""
    sys.meta_path.append(OldNames(MOVED))
