"""The machine and the disk."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from support.refusals import refuses

from errors import InputError
from models import build_model
from s1c1 import S1C1
from training.checkpoint import collect_checkpoint, save_checkpoint
from utils import (
    ROOT,
    check_memory,
    choose_device,
    claim_folder,
    find_temporaries,
    get_peak_memory,
    put_in_place,
    try_lock,
    unlock,
    write_atomically,
    write_csv,
    write_text,
)


def test_a_gpu_is_used_if_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [choose_device("auto", backend).type for backend in ("auto", "event", "torch")] == ["cpu", "cpu", "cuda"]
    assert choose_device("cuda:0").index == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "torch").type == "cpu"


def create(output, name=None):
    with claim_folder(output, "net", name) as claimed:
        return put_in_place(claimed)


def test_run_folders_never_collide(tmp_path):
    output = tmp_path / "new" / "runs"
    folders = {create(output) for _ in range(3)} | {create(output, "mine")}
    assert set(output.iterdir()) == folders
    assert len(folders) == 4
    with refuses("--name"):
        create(output, "mine")


@pytest.mark.unix
def test_a_name_is_claimed_until_its_folder_is_in_place(tmp_path):
    """What a start that was killed has left is removed; a link in its place is not followed."""
    with claim_folder(tmp_path, "net", "mine") as claimed:
        with refuses("--name"):
            create(tmp_path, "mine")
        assert claimed.is_dir()
    assert not list(tmp_path.iterdir())
    (claimed / "checkpoints").mkdir(parents=True)
    (claimed / "args.json").touch()
    assert not list(create(tmp_path, "mine").iterdir())
    (tmp_path / "mine" / "kept").touch()
    claimed.with_name(".other.new").symlink_to("mine")
    with refuses("--output"):
        create(tmp_path, "other")
    assert list((tmp_path / "mine").iterdir()) == [tmp_path / "mine" / "kept"]


HOLDER = """
import sys
from pathlib import Path
from utils import claim_folder, put_in_place

place = Path(sys.argv[1])
with claim_folder(place.parent, "net", place.name) as folder:
    print("claimed", flush=True)
    sys.stdin.readline()
    put_in_place(folder)
    print("in place", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.unix
def test_a_folder_is_locked_from_its_first_file_on(tmp_path):
    """Against other processes, before and after it gets its name, by each path that leads there, until a kill."""
    place, link = tmp_path / "mine", tmp_path / "link"
    link.symlink_to(place)
    command = [sys.executable, "-c", HOLDER, place]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for message in (b"claimed", b"in place"):
            assert process.stdout.readline().strip() == message
            assert try_lock(place) is None
            assert try_lock(link) is None
            with refuses("--name"):
                create(tmp_path, "mine")
            if message == b"claimed":
                process.stdin.write(b"\n")
                process.stdin.flush()
        process.kill()
    lock = try_lock(link)
    assert lock.is_locked
    unlock(lock)
    assert {*tmp_path.iterdir()} == {place, link}


def test_without_locks_nothing_is_deleted(tmp_path, monkeypatch):
    """On a file system that has no locks, the temporary folder may be that of a process that goes on."""

    def fail(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    assert create(tmp_path, "mine").is_dir()
    file = tmp_path / ".other.new" / "file"
    file.parent.mkdir()
    file.touch()
    with refuses("--name"):
        create(tmp_path, "other")
    assert file.exists()


@pytest.fixture
def attempts(monkeypatch):
    """The calls of ``os.replace``, the first three of which fail: as on Windows, where an open file is not replaced."""

    def replace(*paths):
        calls.append(paths)
        if len(calls) <= 3:
            raise PermissionError(errno.EACCES, "is open")
        return plain(*paths)

    calls, plain = [], os.replace
    monkeypatch.setattr("utils.os.replace", replace)
    monkeypatch.setattr("utils.time.sleep", lambda seconds: None)
    return calls


def test_a_file_that_another_program_has_opened_is_replaced_later(attempts, tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", Path.touch)
    assert (tmp_path / "file").exists()
    monkeypatch.setattr("utils.os.replace", Mock(side_effect=PermissionError(errno.EACCES, "is open")))
    with refuses(tmp_path / "file"):
        write_atomically(tmp_path / "file", Path.touch)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_which_another_program_reads_is_put_in_place_later(attempts, tmp_path):
    """A virus scanner may have opened a new file."""
    assert create(tmp_path, "mine").is_dir()
    assert len(attempts) == 4


@pytest.mark.unix
def test_an_output_that_is_no_folder_is_refused(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(tmp_path / "nowhere")
    for output in (file, file / "below", link):
        with refuses("--output"):
            create(output)


def test_temporary_files_are_found_and_no_other_hidden_files(tmp_path):
    seen = []
    write_atomically(tmp_path / "a.txt", lambda path: seen.append(path) or path.touch())
    (tmp_path / "folder").mkdir()
    left = tmp_path / "folder" / seen[0].name
    left.touch()
    (tmp_path / ".2024.notes.txt").touch()
    (tmp_path / seen[0].name).mkdir()
    assert find_temporaries(tmp_path) == [left]


def test_a_system_without_figures(monkeypatch):
    assert get_peak_memory() > 10
    monkeypatch.setattr("utils.resource", None)  # as on Windows
    assert get_peak_memory() is None


@pytest.mark.parametrize(("platform", "megabytes"), [("linux", 2048), ("darwin", 2)])
def test_the_unit_of_the_peak_memory(platform, megabytes, monkeypatch):
    usage = SimpleNamespace(ru_maxrss=2_000_000)
    monkeypatch.setattr("utils.resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage))
    monkeypatch.setattr("utils.sys.platform", platform)
    assert get_peak_memory() == megabytes


def test_what_does_not_fit_is_named(monkeypatch):
    check_memory("a", 10**4)
    monkeypatch.setattr("utils.get_available_memory", lambda: 10**4)
    with refuses("the part b"):
        check_memory("the part b", 10**4 + 1)
    monkeypatch.setattr("utils.get_available_memory", lambda: None)
    check_memory("a", 10**30)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(InputError if error is OSError else error):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_texts_with_paths_that_are_not_utf_8(tmp_path):
    path = os.fsdecode(b"runs/\xff")
    write_text(tmp_path / "a.txt", path)
    write_csv(tmp_path / "a.csv", [[path]])
    assert [(tmp_path / name).read_bytes().strip() for name in ("a.txt", "a.csv")] == [rb"runs/\udcff"] * 2


def test_a_durable_file_is_on_the_disk_before_it_is_moved(tmp_path, monkeypatch):
    calls = []

    def record(name):
        plain = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args: calls.append(name) or plain(*args))

    record("fsync")
    record("replace")
    write_atomically(tmp_path / "file", Path.touch)
    assert calls == ["replace"]
    save_checkpoint(collect_checkpoint(tmp_path / "network.safetensors", build_model("mozafari2018"), S1C1()))
    assert calls == ["replace", "fsync", "replace"]


@pytest.mark.unix
@pytest.mark.parametrize(
    "make", [
        lambda path: path.symlink_to(path.with_name("other")), lambda path: path.symlink_to("nowhere"), os.mkfifo,
        Path.mkdir,
    ], ids=["a link", "a link to nothing", "a pipe", "a folder"],
)  # fmt: skip
def test_only_regular_files_are_replaced(make, tmp_path):
    path, other = tmp_path / "file.txt", tmp_path / "other"
    other.write_text("old")
    make(path)
    before = path.lstat()
    with refuses(path):
        write_text(path, "new")
    assert path.lstat() == before
    assert other.read_text() == "old"
    assert {*tmp_path.iterdir()} == {path, other}


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "sweep.py"])
def test_a_missing_package_is_reported_with_the_command_that_installs_it(program):
    """With -S, Python has no packages but its own."""
    run = subprocess.run([sys.executable, "-S", ROOT / program, "--help"], capture_output=True, text=True)
    (line,) = run.stderr.splitlines()
    assert run.returncode == 2
    assert line.startswith(f"{program}: the package torch")
    assert line.endswith("requirements.txt")
    assert not run.stdout


MISSING = """
from importlib import metadata
from training import command

def find(name):
    if name == "threadpoolctl":
        raise metadata.PackageNotFoundError(name)

metadata.distribution = find
command.prepare_start()
"""


def test_the_last_package_of_requirements_is_looked_for():
    run = subprocess.run([sys.executable, "-c", MISSING], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "the package threadpoolctl" in run.stderr
