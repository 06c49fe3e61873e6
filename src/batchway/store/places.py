"""Places for a store: why some of them do not keep what was written."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2"}
    | {"orangefs", "smb3", "smbfs", "virtiofs", "davfs"}
    | {"fuse.ceph", "fuse.curlftpfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs"}
    | {"fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)
"""Types of file systems that lie on other machines (or, virtiofs and 9p, on the host of this one)."""


def warn_reasons(path: str | Path, mounts: Path = MOUNTS) -> tuple[str, ...]:
    """Why a SQLite store at this path may lose what it acknowledged; nothing where no reason is known.

    Read from Linux's table of mounts (proc(5)); on other systems nothing is known.
    """
    if not mounts.exists():
        return ()
    kind = _file_system(Path(path).absolute().resolve(), mounts.read_text(errors="surrogateescape"))
    if kind in IN_MEMORY:
        return (f"{path} lies in memory ({kind}): a restart of the machine empties it",)
    if kind in NETWORK:
        return (f"{path} lies on another machine ({kind}): SQLite's locks and its shared memory do not hold there",)
    return ()


def _file_system(path: Path, table: str) -> str:
    """The type of the file system that a path lies on. Of several mounts at one place the last is on top."""
    found, depth = "", -1
    for line in table.splitlines():
        _, mounted, kind, *_ = line.split(" ")
        place = Path(_unescape(mounted))
        if path.is_relative_to(place) and len(place.parts) >= depth:
            found, depth = kind, len(place.parts)
    return found


def _unescape(name: str) -> str:
    r"""Blanks, tabs, line ends and backslashes are written as `\040` and so on."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)
