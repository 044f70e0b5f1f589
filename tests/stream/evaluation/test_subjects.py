"""Figures over subjects, and two models on the same beats."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from innpar.stream.evaluation.streaming import EvaluatedRecord
from innpar.stream.evaluation.subjects import SubjectErrors, compared, subject_figures
from innpar.stream.evaluation.tables import comparison


def test_subjects_weigh_alike_however_many_beats_they_have() -> None:
    error = np.repeat([[2.0] * 3, [10.0] * 3], [90, 10], axis=0)
    subject = np.repeat(["a", "b"], [90, 10])
    figures = subject_figures({"model": error}, subject, np.zeros(100, dtype=np.int64))
    assert figures["by_subject"]["model"] == {"sbp": 6.0, "dbp": 6.0, "map": 6.0}
    assert figures["below"] == {}


def test_limits_contain_the_value_and_are_wide_where_subjects_differ() -> None:
    rng = np.random.default_rng(0)
    subject = np.repeat([f"s{k}" for k in range(20)], 50)
    held = np.full((1000, 3), 10.0)
    alike, unlike = held * 0.7, held * np.repeat(rng.uniform(0.2, 1.2, 20), 50)[:, None]
    table = SubjectErrors({"held": held, "alike": alike, "unlike": unlike}, subject)
    gain, (low, high) = table.gain("alike", "held")
    assert gain == pytest.approx(0.3)
    assert high - low == pytest.approx(0.0, abs=1e-9)
    gain, (low, high) = table.gain("unlike", "held")
    assert ((low < gain) & (gain < high) & (high - low > 0.1)).all()


def test_a_paired_difference_is_sharper_than_either_gain() -> None:
    """Both models share each subject's difficulty, which the difference leaves out."""
    hard = np.repeat(np.linspace(2.0, 30.0, 15), 40)[:, None] * np.ones(3)
    subject = np.repeat([f"s{k}" for k in range(15)], 40)
    table = SubjectErrors({"former": hard, "model": hard - 1.0}, subject)
    value, (low, high) = table.difference("model", "former")
    assert value == pytest.approx(-1.0)
    assert low == pytest.approx(-1.0)
    assert high == pytest.approx(-1.0)


def test_gains_are_listed_by_the_number_of_the_reading() -> None:
    number = np.repeat([0, 1, 2, 5, 12], 10)
    errors = {"model": np.full((50, 3), 3.0), "held": np.full((50, 3), 6.0)}
    rows = subject_figures(errors, np.full(50, "a"), number)["by_reading"]
    assert [(row["from"], row["to"], row["beats"]) for row in rows] == [
        (1, 1, 10),
        (2, 2, 10),
        (4, 5, 10),
        (9, None, 10),
    ]
    assert rows[0]["mae"] == {"model": [3.0] * 3, "held": [6.0] * 3}


def record(file: str, beat: list[int], error: float) -> EvaluatedRecord:
    count = len(beat)
    truth = np.tile([120.0, 70.0, 90.0], (count, 1)) + np.array(beat)[:, None]
    one, none = np.ones(count), np.zeros((count, 3))
    return EvaluatedRecord(
        *(file, "vitaldb_125hz", file, np.array(beat), one, truth + error, truth, one, one),
        *(
            none,
            none,
            truth + 4.0,
            one,
            np.ones(count, dtype=np.int64),
            truth,
            np.zeros((count, 4)),
        ),
        *(count, np.zeros((3, 0))),
    )


def test_only_beats_that_both_models_give_are_compared() -> None:
    new = [record("a", [0, 1, 2], 1.0), record("b", [5], 1.0), record("c", [1], 1.0)]
    old = [record("a", [1, 2, 3], 2.0), record("b", [5, 6], 2.0)]
    found = compared(new, old)
    assert (found["beats"], found["subjects"]) == (3, 2)
    assert found["difference_mmhg"]["sbp"]["value"] == -1.0
    assert found["below_held"]["model"]["dbp"] == 0.75
    assert "SBP -1.00 (-1.00 to -1.00)" in comparison(found, "former")[-1]


def test_models_without_a_common_beat_are_not_compared() -> None:
    never = dataclasses.replace(record("a", [0], 1.0), age=np.full(1, np.nan))
    assert compared([never], [never]) == {}
    assert comparison({}, "former") == ["no beat in common with former"]
