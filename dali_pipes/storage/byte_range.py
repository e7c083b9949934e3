"""A byte range of a file, as a file object: local, or at a URL, where only the requested bytes are fetched."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dali_pipes.video_info import Stamp

# Keys of fsspec's file systems for values that change with the contents, unlike times of access or of the request.
_CHANGES = (
    "ETag",
    "etag",
    "md5Hash",
    "Content-MD5",
    "mtime",
    "LastModified",
    "Last-Modified",
    "last_modified",
    "updated",
)


def is_url(file: str) -> bool:
    return "://" in file


def stamp_of(file: str) -> Stamp:
    """Size and last change of a file.

    Raises:
        OSError: the file is missing or no file, or the server does not report its size.
    """
    if not is_url(file):
        status = Path(file).stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would block
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise OSError(f"expected a file at {file}, found {kind}.")
        return Stamp(status.st_size, status.st_mtime_ns)
    system, path = file_system(file)
    about = system.info(path)
    if about.get("size") is None:
        raise OSError(f"expected the server to report the size of {file}, found none in its response.")
    said = repr([about["size"], *(about.get(name) for name in (*_CHANGES, "created"))])
    return Stamp(int(about["size"]), int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "little") >> 1)


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it. Only this function imports fsspec.

    Raises:
        ValueError: fsspec, or the package that it needs for this kind of URL, is not installed, or the kind is unknown.
    """
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ValueError(f"{url}: expected an installed fsspec that opens such URLs, found: {error}.") from error
    return system, path


class ByteRange(io.RawIOBase):
    """``size`` bytes of a file from ``start`` on; each read is one read, or one request, of just the bytes wanted.

    Args:
        file: local path or URL.
        start: byte offset of the range in the file.

    Raises:
        OSError: the file does not open.
    """

    def __init__(self, file: str, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0
        self._fetch = _fetcher(file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes; raises OSError if the file ends within the byte range."""
        rest = max(0, self._size - self._at)
        size = rest if size is None or size < 0 else min(size, rest)
        if not size:
            return b""
        data = self._fetch(self._start + self._at, size)
        if len(data) != size:
            raise OSError(f"expected {size} bytes at {self._start + self._at} of {self._file}, found {len(data)}.")
        self._at += size
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        close = getattr(getattr(self, "_fetch", None), "close", None)  # it may have failed to open
        if not self.closed and close:
            close()
        super().close()


class _LocalFile:
    def __init__(self, file: str) -> None:
        self._descriptor = os.open(file, os.O_RDONLY)

    def __call__(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)

    def close(self) -> None:
        os.close(self._descriptor)


def _fetcher(file: str) -> Callable[[int, int], bytes]:
    if not is_url(file):
        return _LocalFile(file)
    system, path = file_system(file)
    return lambda start, size: system.cat_file(path, start=start, end=start + size)
