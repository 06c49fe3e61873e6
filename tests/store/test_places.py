"""Places that do not keep what was written are named."""

from pathlib import Path

import pytest

from batchway.store.places import warn_reasons

MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/me/disk xfs rw 0 0
user@host: /mnt/with\040blank fuse.sshfs rw 0 0
/dev/sdc1 /over ext4 rw 0 0
tmpfs /over tmpfs rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/var/lib/batchway.db", None),
        ("/run/batchway/store.db", "in memory (tmpfs)"),
        ("/running/store.db", None),
        ("/home/me/store.db", "another machine (nfs4)"),
        ("/home/me/disk/store.db", None),
        ("/mnt/with blank/store.db", "another machine (fuse.sshfs)"),
        ("/over/store.db", "in memory (tmpfs)"),
    ],
)
def test_the_file_system_below_a_path_says_whether_it_keeps(tmp_path: Path, path: str, reason: str | None) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)

    reasons = warn_reasons(path, mounts)

    assert (reason is None) == (reasons == ())
    assert all(path in said and reason is not None and reason in said for said in reasons)


def test_a_link_leads_to_where_the_file_lies(tmp_path: Path) -> None:
    place, link = tmp_path / "memory", tmp_path / "link"
    place.mkdir()
    link.symlink_to(place)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\ntmpfs {place} tmpfs rw 0 0\n")

    assert warn_reasons(link / "store.db", mounts) != ()
    assert warn_reasons(tmp_path / "store.db", mounts) == ()


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    assert warn_reasons("/run/store.db", tmp_path / "no-such-table") == ()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs at a known place")
def test_this_machines_own_table_is_read() -> None:
    assert warn_reasons("/dev/shm/store.db") != ()
