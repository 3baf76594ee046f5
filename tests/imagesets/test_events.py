"""Recordings of events: files, checks, the data set, and the encoder."""

import io
import shutil

import numpy as np
import pytest
import torch
from support.refusals import refuses
from support.simulated_events import write_part

from encoders.events import EventEncoder
from imagesets import load
from imagesets.recordings import Recordings, read_events

SIZE = 34, 34


def in_bytes(*events):
    """The content of a .bin file: events (x, y, p, t)."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in events)


def in_arrays(save=np.savez, **changed):
    """The content of a .npz file of three events, two of them at the same time."""
    arrays = {"x": np.array([3, 1, 2]), "y": np.array([0, 4, 5]), "t": np.array([9, 7, 7]), "p": np.array([1, -1, 1])}
    file = io.BytesIO()
    save(file, **{name: value for name, value in {**arrays, **changed}.items() if value is not None})
    return file.getvalue()


def decode(folder, content, name="a.bin", size=SIZE):
    (folder / name).write_bytes(content)
    return read_events(str(folder / name), size)


def in_fields():
    fields = np.zeros(3, [(name, "<i4") for name in "xytp"])
    fields["x"], fields["y"], fields["t"], fields["p"] = [3, 1, 2], [0, 4, 5], [9, 7, 7], [1, 0, 1]
    file = io.BytesIO()
    np.save(file, fields)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes of simulated events, 7 recordings each, without a test part."""
    images = np.random.default_rng(0).integers(0, 256, (14, 28, 28), np.uint8)
    write_part(tmp_path / "all", images, np.arange(14) % 2, seed=0)
    return tmp_path / "all"


def test_bin_files_with_overflows_and_equal_times(tmp_path):
    """Each event with y 240 adds 2^13 µs to the later ones; the sort by time is stable."""
    content = in_bytes(
        (1, 2, 1, 20), (33, 33, 0, 2**23 - 1), (0, 240, 0, 0), (4, 5, 0, 0), (5, 240, 1, 9), (6, 7, 1, 3)
    )
    events = decode(tmp_path, content + in_bytes((8, 9, 1, 0)))
    assert events.t.tolist() == [20, 2**13, 2**14, 2**14 + 3, 2**23 - 1]
    assert events.x.tolist() == [1, 4, 8, 6, 33]
    assert events.y.tolist() == [2, 5, 9, 7, 33]
    assert events.p.tolist() == [1, 0, 1, 1, 0]
    same = decode(tmp_path, in_bytes(*((x, 0, 0, 5) for x in (9, 3, 7))))
    assert same.x.tolist() == [9, 3, 7]


@pytest.mark.parametrize(
    ("content", "ending"), [(in_arrays(), "npz"), (in_arrays(np.savez_compressed), "npz"), (in_fields(), "npy")]
)
def test_arrays_of_events(tmp_path, content, ending):
    events = decode(tmp_path, content, f"a.{ending}", (6, 4))
    assert [values.tolist() for values in events] == [[1, 2, 3], [4, 5, 0], [7, 7, 9], [0, 1, 1]]
    with refuses(tmp_path / "a.npz"):
        decode(tmp_path, in_arrays(), "a.npz", (5, 4))


DAMAGED = {
    "a.bin": [b"", *map(in_bytes, [(0, 240, 0, 0), (1, 34, 0, 0), (34, 1, 0, 0)]), in_bytes((1, 2, 1, 20))[:-1]],
    "a.npy": [in_fields()[:-1], in_fields()[:40], b""],
    "a.npz": [
        in_arrays()[:-40], in_arrays(t=None), in_arrays(x=np.array([3, -1, 2])), in_arrays(x=np.array([3.0, 1, 2])),
        in_arrays(y=np.array([[0, 4, 5]])), in_arrays(t=np.array([9, 2**64 - 1, 7], np.uint64)),
        *(in_arrays(t=np.array([9, time, 7])) for time in (np.nan, 1e300, 1e19, 2**53 + 1, -(2**63), 7j)),
        in_arrays(p=np.array(["a", "b", "c"], object)), in_arrays(**{name: np.array([], int) for name in "xytp"}),
    ],
}  # fmt: skip


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    for name, contents in DAMAGED.items():
        for content in contents:
            with refuses(tmp_path / name):
                decode(tmp_path, content, name)


def test_a_folder_is_a_data_set_that_stays_on_disk(folder):
    data = load(f"events:{folder}")
    assert data.colours == 0
    assert (data.image_size, data.class_names, len(data.train_images), len(data.test_images)) == (
        SIZE,
        ("0", "1"),
        11,
        3,
    )
    assert any("34×34" in note for note in data.notes)
    part = data.train_images[np.array([2, 0])]
    assert isinstance(part, Recordings)
    assert part.paths.tolist() == data.train_images.paths[[2, 0]].tolist()
    pictures, events = np.asarray(part), read_events(part.paths[0], SIZE)
    counts = np.zeros(SIZE)
    np.add.at(counts, (events.y, events.x), 1)
    assert (pictures.shape, pictures.dtype) == ((2, *SIZE), np.uint8)
    np.testing.assert_allclose(pictures[0], 255 * counts / counts.max(), atol=0.5)
    assert load(f"events:{folder}", image_size=(40, 36)).image_size == (40, 36)
    with refuses(folder / "0" / "00000.bin"):
        load(f"events:{folder}", image_size=(20, 20))


def test_n_mnists_own_folders_and_copies_of_training_recordings(folder):
    for part, chosen in (("Train", "0[0-9]"), ("Test", "1[0-9]")):
        for label in "01":
            (folder / part / label).mkdir(parents=True)
            for path in folder.glob(f"{label}/000{chosen}.bin"):
                path.rename(folder / part / label / path.name)
    shutil.copy(next(folder.glob("Train/0/*")), folder / "Test" / "0" / "again.bin")
    for label in "01":
        (folder / label).rmdir()
    data = load(f"events:{folder}")
    assert (len(data.train_images), len(data.test_images)) == (10, 5)
    assert any(note.startswith("1 of 5") for note in data.notes)
    (folder / "Test").rename(folder / "test")
    with refuses(folder / "test"):  # the names of the parts are all in capitals or none of them
        load(f"events:{folder}")


def test_any_byte_changes_the_fingerprint(folder):
    before, path = load(f"events:{folder}").fingerprint, folder / "1" / "00003.bin"
    content = bytearray(path.read_bytes())
    content[2] ^= 128  # the polarity of the first event
    path.write_bytes(content)
    assert load(f"events:{folder}").fingerprint != before


def test_the_size_of_other_sensors_is_the_largest_coordinate_of_both_parts(tmp_path):
    for part, x in (("train", 5), ("test", 9)):
        for label in "ab":
            place = tmp_path / part / label
            place.mkdir(parents=True)
            (place / "1.npz").write_bytes(in_arrays(x=np.array([x, 1, 2])))
    assert load(f"events:{tmp_path}").image_size == (6, 10)


def recorded(place, *events):
    """Recordings of a sensor of 4×4 pixels with one file of these events (x, y, p, t)."""
    (place / "a.bin").write_bytes(in_bytes(*events))
    return Recordings([str(place / "a.bin")], np.zeros((1, 32), np.uint8), (4, 4))


def test_the_first_events_of_a_window(tmp_path):
    """A pixel and polarity spikes at the time of its first event; the window is 4 ms and has 4 steps."""
    recordings = recorded(tmp_path, (1, 2, 1, 5), (3, 0, 0, 1004), (1, 2, 1, 1500), (3, 0, 1, 4004), (0, 0, 0, 4005))
    encoder = EventEncoder(mode="first", window=(0, 4), time_steps=4)
    (latency,) = encoder.encode(recordings)
    expected = torch.full((2, 4, 4), 4, dtype=torch.uint8)
    expected[0, 2, 1], expected[1, 0, 3], expected[0, 0, 3] = 0, 0, 3
    assert torch.equal(latency, expected)
    (later,) = EventEncoder(mode="first", window=(1, 4), time_steps=3).encode(recordings)
    assert (later[0, 2, 1], later[0, 0, 3], int((later < 3).sum())) == (0, 2, 2)


def test_counts_are_ranked_relative_to_their_surroundings(tmp_path):
    """Two bins: in the first, a pixel with 3 events beside a pixel with 1; in the second, a lonely event of the other
    polarity, which is 9 times the mean of its square of 9 pixels, so it is the strongest."""
    pixels = [(1, 1, 1, 0), (1, 1, 1, 1), (1, 1, 1, 2), (2, 1, 1, 3), (2, 2, 0, 9)]
    encoder = EventEncoder(bins=2, radius=1, time_steps=3)
    assert (encoder.channels, encoder.polarity) == (4, (1, -1, 1, -1))
    (latency,) = encoder.encode(recorded(tmp_path, *pixels))
    expected = torch.full((4, 4, 4), 3, dtype=torch.uint8)
    expected[3, 2, 2], expected[0, 1, 1], expected[0, 1, 2] = 0, 1, 2
    assert torch.equal(latency, expected)
