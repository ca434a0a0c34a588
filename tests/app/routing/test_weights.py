from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.routing.decisions import Thresholds
from app.routing.scoring import Calibration, Collapsed
from app.routing.weights import Weights, load, save
from app.routing.weights_file import DamagedWeightsError
from tests.app.routing.small import model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small = model()
    calibrated = Collapsed(small.routes, small.table, small.scale, small.bias, Calibration((0.7, 0.2), (1, 2, 3, 4, 5)))
    save(tmp_path / "w.bin", Weights(calibrated, Thresholds({"math": (0.5,) * 50}, out_of_domain=0.8)))
    return tmp_path / "w.bin"


def test_what_was_saved_is_loaded(path: Path) -> None:
    found = load(path)
    assert np.array_equal(found.model.table, model().table)
    assert (found.model.routes, found.model.scale, found.model.bias) == (model().routes, model().scale, model().bias)
    assert found.model.calibration == Calibration((0.7, 0.2), (1, 2, 3, 4, 5))
    assert found.thresholds.at("math", 0.9) == 0.5
    assert found.thresholds.out_of_domain == 0.8


@pytest.mark.parametrize("place", [0, 9, 45, 300, -1])
def test_one_wrong_byte_is_noticed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedWeightsError, match="w.bin"):
        load(path)


@pytest.mark.parametrize("length", [0, 7, 20, 1000])
def test_a_file_that_was_cut_short_is_noticed(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedWeightsError):
        load(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DamagedWeightsError, match="No such file"):
        load(tmp_path / "none.bin")


def test_a_table_of_another_shape_is_refused() -> None:
    small = model()
    with pytest.raises(ValueError, match="must be int8"):
        Collapsed(small.routes, small.table[:10], small.scale, small.bias)
    with pytest.raises(ValueError, match="one bias"):
        Collapsed(small.routes, small.table, small.scale, small.bias[:2])
