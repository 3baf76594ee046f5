"""``--list-models`` and ``--summary``, also if a network cannot be built."""

import train
from models import MODELS, network_names
from network_trainer import NetworkTrainer


def listed(text):
    return [line.split(maxsplit=1)[0].rstrip(":") for line in text.splitlines() if not line.startswith(" ")]


def test_lists_and_summaries(capsys):
    assert train.main(["--list-models"]) == 0
    assert listed(capsys.readouterr().out) == network_names()
    for name in ("mozafari2018", "Deep2024"):
        assert train.main(["--summary", "--model", name, "--dataset", "digits"]) == 0
        assert f"{name.lower()} for 6×28×28 inputs" in capsys.readouterr().out


def test_a_network_that_cannot_be_built_is_one_line_of_the_list(monkeypatch, capsys):
    monkeypatch.setitem(MODELS, "hollow", type("Hollow", (NetworkTrainer,), {"name": "hollow"}))
    assert train.main(["--list-models"]) == 0
    assert sorted(listed(capsys.readouterr().out)) == network_names()
