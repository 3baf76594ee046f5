"""What of the program is compared when a run is resumed, and in a sweep."""

import pytest

from training.changes import digest_code

CODE = "train.py", "engine/__init__.py", "engine/event/fast.py"
NO_CODE = "README.md", "tests/test_train.py", "venv/lib/torch/__init__.py", "benchmarks/__init__.py", "engine/notes.txt"
NO_CODE += "analysis.py", "own/__init__.py"  # files of a user's own


@pytest.mark.unix
def test_a_change_of_the_code_is_one_of_the_python_files_of_the_program(tmp_path):
    """Not one of a page, a test or a virtual environment. A lock of Emacs is a hidden link to nothing."""
    for name in (*CODE, *NO_CODE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / ".#train.py").symlink_to("user@host.1234")
    known = {digest_code(tmp_path)}
    for name in NO_CODE:
        (tmp_path / name).write_text("2")
    assert {digest_code(tmp_path)} == known
    for name in CODE:
        (tmp_path / name).write_text("2")
        known.add(digest_code(tmp_path))
    (tmp_path / "train.py").rename(tmp_path / "learn.py")
    known.add(digest_code(tmp_path))
    assert len(known) == 2 + len(CODE)
