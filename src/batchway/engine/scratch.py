"""Scratch: files of no name for what is too large for memory, and one clear fault where there is no room for them."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from batchway.core.errors import NoRoom

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT})
"""What a folder answers that takes no file, or no more of it."""


@contextmanager
def scratch() -> Iterator[BinaryIO]:
    """A file that is gone when the block ends. Raises NoRoom."""
    with minding_room(), tempfile.TemporaryFile() as file:
        yield file


@contextmanager
def minding_room() -> Iterator[None]:
    """Raises NoRoom in the words of who can see to it, where a file that is written within has no room."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(
            f"The folder for temporary files ({tempfile.gettempdir()}) takes no more: {error.strerror}. Make room "
            "there, or start with TMPDIR set to another folder."
        ) from error
