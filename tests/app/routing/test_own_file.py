"""The cache of fitted routes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from app.routing import own_file
from app.routing.features import ROWS
from app.routing.joint import OwnHead
from app.routing.own import OwnRoute

TABLE = np.random.default_rng(0).integers(-127, 128, (ROWS, 3)).astype(np.int8)
HEAD = OwnHead(("a", "b"), TABLE, 0.01, (0.1, 0.2, 0.3), 0.2, (-1.0, 3.0), {"a": (0.5,) * 50}, 0.75)
ROUTES = [OwnRoute("a", examples=("x",))]


def test_a_head_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "head.bin"
    own_file.save(path, HEAD)
    found = own_file.load(path)
    assert found is not None
    for name in HEAD.__struct_fields__:
        assert np.array_equal(getattr(found, name), getattr(HEAD, name))
    assert [file.name for file in path.parent.iterdir()] == ["head.bin"]


def test_a_folder_keeps_the_newest_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_file, "MOST_KEPT", 2)
    for number in range(4):
        own_file.save(tmp_path / f"{number}.bin", HEAD)
        os.utime(tmp_path / f"{number}.bin", (number, number))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.bin", "3.bin"]


def test_a_head_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "head.bin"
    path.mkdir()
    with pytest.raises(OSError):
        own_file.save(path, HEAD)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:0], lambda b: b[:60] + b"x" + b[61:]])
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "head.bin"
    own_file.save(path, HEAD)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    assert own_file.load(path) is None
    assert own_file.load(tmp_path / "missing.bin") is None


def test_the_name_depends_on_all_that_was_fitted_from(tmp_path: Path) -> None:
    names = {
        own_file.path_for(tmp_path, ROUTES, b"weights"),
        own_file.path_for(tmp_path, ROUTES, b"other weights"),
        own_file.path_for(tmp_path, [OwnRoute("a", examples=("y",))], b"weights"),
    }
    assert len(names) == 3
    assert own_file.path_for(tmp_path, ROUTES, b"weights") in names
