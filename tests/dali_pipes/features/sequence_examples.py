"""tensorflow.SequenceExample by the protobuf package: what records must mean, independent of our own reader."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto


def _field(name: str, number: int, kind: int, *, message: str = "", repeated: bool = False) -> Any:
    label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
    return _F(name=name, number=number, type=kind, label=label, type_name=f".t.{message}" if message else None)


def _message(name: str, *fields: Any) -> Any:
    return descriptor_pb2.DescriptorProto(name=name, field=fields)


def _pool() -> descriptor_pool.DescriptorPool:
    feature = _message(
        "Feature",
        _field("bytes_list", 1, _F.TYPE_MESSAGE, message="BytesList"),
        _field("float_list", 2, _F.TYPE_MESSAGE, message="FloatList"),
        _field("int64_list", 3, _F.TYPE_MESSAGE, message="Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    # Maps are repeated entries of key and value in the wire format.
    messages = [
        _message("BytesList", _field("value", 1, _F.TYPE_BYTES, repeated=True)),
        _message("FloatList", _field("value", 1, _F.TYPE_FLOAT, repeated=True)),
        _message("Int64List", _field("value", 1, _F.TYPE_INT64, repeated=True)),
        feature,
        _message(
            "FeatureEntry", _field("key", 1, _F.TYPE_STRING), _field("value", 2, _F.TYPE_MESSAGE, message="Feature")
        ),
        _message("Features", _field("feature", 1, _F.TYPE_MESSAGE, message="FeatureEntry", repeated=True)),
        _message("FeatureList", _field("feature", 1, _F.TYPE_MESSAGE, message="Feature", repeated=True)),
        _message(
            "ListEntry", _field("key", 1, _F.TYPE_STRING), _field("value", 2, _F.TYPE_MESSAGE, message="FeatureList")
        ),
        _message("FeatureLists", _field("feature_list", 1, _F.TYPE_MESSAGE, message="ListEntry", repeated=True)),
        _message(
            "SequenceExample",
            _field("context", 1, _F.TYPE_MESSAGE, message="Features"),
            _field("feature_lists", 2, _F.TYPE_MESSAGE, message="FeatureLists"),
        ),
    ]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3", message_type=messages))
    return pool


_POOL = _pool()


def new(name: str, **fields: Any) -> Any:
    """A message, such as new("Int64List", value=[1, 2])."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"t.{name}"))(**fields)


def strings(*values: bytes) -> Any:
    return new("Feature", bytes_list=new("BytesList", value=values))


def integers(*values: int) -> Any:
    return new("Feature", int64_list=new("Int64List", value=values))


def floats(*values: float) -> Any:
    return new("Feature", float_list=new("FloatList", value=values))


def sequence_example(context: dict[str, Any], lists: dict[str, list[Any]]) -> Any:
    """Context: name -> Feature; lists: name -> a Feature a frame."""
    entries = [new("FeatureEntry", key=key, value=value) for key, value in context.items()]
    frames = [new("ListEntry", key=key, value=new("FeatureList", feature=value)) for key, value in lists.items()]
    return new(
        "SequenceExample",
        context=new("Features", feature=entries),
        feature_lists=new("FeatureLists", feature_list=frames),
    )
