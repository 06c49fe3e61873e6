"""Reading the files that commands are given: text, or one clear message."""

from pathlib import Path

from batchway.core.errors import InputError


def read_text(file: Path) -> str:
    """The text of a file. InputError says what is wrong with it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a text file.") from error
    if b"\0" in content:
        raise InputError(f"{file}: is a binary file; name a text file, or the JSON body of a chat.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 (byte {error.start}); convert it first.") from error
