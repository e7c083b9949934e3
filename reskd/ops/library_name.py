"""What the library of compiled operators is called. Only the standard library is imported: setup.py runs this file."""

from __future__ import annotations


def native_library_name(torch_version: str) -> str:
    """Module name of the compiled operators for this torch: ``2.15.0+cu130`` -> ``_native_torch2_15``."""
    major, minor = torch_version.split(".")[:2]
    return f"_native_torch{major}_{minor}"
