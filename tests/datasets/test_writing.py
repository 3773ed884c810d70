"""Files that are replaced: links, permissions, long names, what is no regular file."""

import errno
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.datasets import write_atomically, writing
from fastnn.storage.checkpoints import read_checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files of POSIX")


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_permissions_of_a_new_file(tmp_path, umask):
    write_atomically(tmp_path / "a", b"new")
    assert permissions(tmp_path / "a") == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755], ids=oct)
def test_permissions_of_the_file_before_are_kept(tmp_path, umask, mode, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    seen = []
    fsync = os.fsync

    def spy(number):
        seen.append(stat.S_IMODE(os.fstat(number).st_mode))
        fsync(number)

    monkeypatch.setattr(writing.os, "fsync", spy)
    write_atomically(path, b"new")
    assert (path.read_bytes(), permissions(path)) == (b"new", mode)
    assert seen[0] & ~mode == 0  # at no time may anybody else read it


def test_a_protected_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o400)
    usual = os.access  # the superuser may write everything
    monkeypatch.setattr(writing.os, "access", lambda file, mode: file != path and usual(file, mode))
    with pytest.raises(PermissionError) as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("relative", [False, True])
def test_a_symbolic_link_is_kept(tmp_path, relative):
    (tmp_path / "models").mkdir()
    target, link = tmp_path / "models" / "m-1", tmp_path / "current"
    target.write_bytes(b"old")
    link.symlink_to("models/m-1" if relative else target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["current", "m-1", "models"]


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "link").symlink_to("new")
    write_atomically(tmp_path / "link", b"contents")
    assert (tmp_path / "new").read_bytes() == b"contents"
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)) as caught:
        write_atomically(tmp_path / "circle", b"contents")
    assert caught.value.filename == str(tmp_path / "circle")
    assert (tmp_path / "circle").is_symlink()


def test_a_pipe_is_written_and_remains_one(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_atomically(path, b"contents")
    reader.join()
    assert read == [b"contents"]
    assert path.is_fifo()


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "a", b"contents")
    assert caught.value.filename == str(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "日" * 85], ids=["ASCII", "2", "3"])
def test_names_as_long_as_the_system_allows(tmp_path, name):
    path = tmp_path / name
    write_atomically(path, b"contents")
    assert path.read_bytes() == b"contents"
    net = fastnn.Network([2, 2], random_state=0, backend="numpy")
    path.unlink()
    net.fit(np.eye(2), [0, 1], epochs=2, checkpoint=path)
    (tmp_path / f"{writing.temporary_name(name)}.4194305-00000000.tmp").touch()  # was killed
    net = fastnn.Network([2, 2], random_state=0, backend="numpy")
    net.fit(np.eye(2), [0, 1], epochs=3, checkpoint=path, resume=True)
    assert read_checkpoint(path).position.steps == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_behind_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "c"
    link.symlink_to(Path("disk", "c"))
    for epochs in (2, 4):
        net = fastnn.Network([2, 2], random_state=0, backend="numpy")
        net.fit(np.eye(2), [0, 1], epochs=epochs, checkpoint=link, resume=True)
    assert link.is_symlink()
    assert read_checkpoint(tmp_path / "disk" / "c").position.steps == 4


def test_a_folder_that_is_read_only(tmp_path, monkeypatch):
    """Neither the file nor the name of a temporary one, which cannot be removed, is at fault."""

    def refuse(*arguments, **settings):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "temporary")

    monkeypatch.setattr(writing, "open", refuse, raising=False)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        write_atomically(tmp_path / "a", b"contents")
    assert caught.value.filename == str(tmp_path / "a")
