"""Writing the files that commands are told to write: whole, or one clear message that names the option."""

from pathlib import Path

from batchway.core.errors import SettingsError


def write_text(option: str, file: str, text: str) -> None:
    """SettingsError says why it cannot be."""
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{option} {file}: cannot be written ({error.strerror}); name another file.") from error
