"""The table on a tiny pipeline: rows, choices, going on after a stop, refusals."""

from __future__ import annotations

import dataclasses
import json

import pytest

from facestudio.errors import BadOption, MissingFile
from facestudio.evaluation import tuning
from facestudio.evaluation.measures import Estimate
from facestudio.evaluation.people import read_people
from facestudio.evaluation.tuning import make_table, runs
from facestudio.evaluation.tuning.page import Choice, Row, Seconds, Table, Trial
from facestudio.evaluation.tuning.settings import (
    PriorSettings,
    TableSettings,
    TunedSettings,
    check_table_settings,
)
from facestudio.settings import load_settings, to_toml

METHODS = ["style", "style", "words", "words", "style-nobody", "words-nobody",
           "inversion", "inversion", "dreambooth", "dreambooth"]  # fmt: skip


@pytest.fixture
def run(table_settings, pipe, judged_by_colour):
    """Make the table of the tiny pipeline with changed settings."""

    def make(on_progress=None, **changes):
        return make_table(dataclasses.replace(table_settings, **changes), on_progress, pipe)

    return make


def test_every_row_has_its_figures(run, table_settings):
    seen = []
    table = run(lambda done, total: seen.append((done, total)), references=(1, 2))
    assert [row.method for row in table.rows] == METHODS
    assert [row.references for row in table.rows] == [1, 2, 1, 2, 1, 1, 1, 2, 1, 2]
    assert all(row.reference.n == 2 and row.with_face.mean == 1 for row in table.rows)
    assert all(row.seconds.picture > 0 for row in table.rows)
    assert all(row.seconds.setup > 0 for row in table.rows if "nobody" not in row.method)
    assert (table.people.evaluated, table.tuning.evaluated) == (2, 2)
    assert table.real["independent"].same.mean > 0.9
    assert seen == [(i, 28) for i in range(1, 29)]
    written = json.loads((table_settings.out / "report.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(table.to_dict()))
    assert written["bars"].keys() == {"likeness_lead", "likeness_lead_style", "setup_ratio"}
    assert {"best", "at_the_end"} <= written["choices"][0].keys()


def test_the_page_names_what_was_chosen(run, table_settings):
    table = run()
    page = (table_settings.out / "report.md").read_text("utf-8")
    best = table.choices[0].best
    assert f"| Textual Inversion, {best.iterations} iterations at 0.1 | 1 |" in page
    assert "| this model without identity, words |  |" in page
    assert "DreamBooth, references: 1." in page
    assert "more like the photos than the better tuned method" in page
    assert (table_settings.out / "sheets/sheet-00.jpg").exists()


def test_pictures_like_the_person_are_told_from_others(run, monkeypatch):
    """A method that hands back the first photo scores 1 with one reference, less with two."""

    def copying(self, recipe, person):
        yield runs.Drawn(person.reference, 0, 0.5, 0.25)

    monkeypatch.setattr(runs.Bench, "_own", copying)
    one, two = run(references=(1, 2)).rows[:2]
    assert one.reference.mean == pytest.approx(1, abs=1e-3)
    assert one.other.mean < two.reference.mean < 1
    assert one.rank1_other.mean == 1
    assert (one.seconds.setup, one.seconds.picture) == (0.5, 0.25)


def test_a_second_run_draws_nothing_and_gives_the_same(run, monkeypatch):
    first = run()
    monkeypatch.setattr(runs.Bench, "_draw", lambda *given: pytest.fail("drawn again"))
    assert run() == first


def test_a_stopped_run_goes_on_and_draws_the_same(run, table_settings, monkeypatch, tmp_path):
    whole = run(out=tmp_path / "whole")
    draw, drawn = runs.Bench._draw, []

    def stop_after_nine(*given):
        if len(drawn) == 9:
            raise KeyboardInterrupt
        drawn.append(given)
        return draw(*given)

    monkeypatch.setattr(runs.Bench, "_draw", stop_after_nine)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(runs.Bench, "_draw", draw)
    again = run()
    assert [row.reference for row in again.rows] == [row.reference for row in whole.rows]
    assert again.choices == whole.choices


def test_more_people_and_iterations_add_to_those_before(run, table_settings):
    run()
    kept = {path: path.stat().st_mtime_ns
            for path in (table_settings.out / "report/style-1").glob("*.png")}  # fmt: skip
    table = run(n_people=3, inversion=TunedSettings((0.1,), (1, 2, 3)))
    assert len(kept) == 2
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert [trial.iterations for trial in table.choices[0].trials] == [1, 2, 3]


def test_pictures_of_other_settings_or_another_model_are_not_mixed_in(run, pipe):
    run(n_people=2)
    with pytest.raises(BadOption, match="another prompt"):
        run(prompt="a man")
    with pytest.raises(BadOption, match=r"another dreambooth\.batch"):
        run(dreambooth=TunedSettings((1e-3,), (1, 2), batch=2))
    pipe.guidance.join.weight.data.add_(1)
    with pytest.raises(BadOption, match="another weights"):
        run()


def test_the_style_is_the_first_photo_and_the_last_is_never_shown(table_settings, pipe):
    calls = []

    class Recorder:
        def identity(self, *photos, largest):
            return photos

        def __call__(self, identity, **options):
            calls.append((identity, options))
            return type("Output", (), {"images": ["picture"]})

    person = read_people(table_settings.people, "report", 2, 3)[0]
    bench = runs.Bench(table_settings, Recorder(), {})
    for method in ("style", "words", "style-nobody"):
        next(bench._own(runs.Recipe(method, 2), person))
    (photos, by_style), (_, by_words), (nobody, _) = calls
    assert len(photos) == 2
    assert by_style["style"].tobytes() == person.reference.tobytes()
    assert "prompt" not in by_style
    assert by_words["prompt"] == "a man smiling"
    assert nobody is None
    assert by_style["seed"] == by_words["seed"]


# --- choices, people, settings -------------------------------------------------------------------


def test_the_best_trial_is_the_most_alike_and_then_the_shortest():
    trials = [Trial(1, 10, 0.2), Trial(1, 20, 0.5), Trial(2, 10, 0.5), Trial(2, 20, 0.4)]
    choice = Choice("inversion", 1, trials)
    assert choice.best == Trial(2, 10, 0.5)
    assert not choice.at_the_end
    assert Choice("inversion", 1, trials[:2]).at_the_end


def test_bars_compare_with_the_better_and_the_quicker_tuned_method():
    def row(method, references, likeness, setup):
        value = Estimate(likeness, likeness, likeness, 2)
        return Row(method, references, *[value] * 5, Seconds(setup, 1.0))

    rows = (
        row("style", 1, 0.7, 0.5), row("style", 3, 0.9, 1.0), row("words", 1, 0.5, 0.5),
        row("inversion", 1, 0.2, 300.0), row("dreambooth", 1, 0.4, 50.0),
        row("dreambooth", 3, 0.8, 10.0),
    )  # fmt: skip
    table = Table({}, "own@1", None, None, None, {}, rows, ())
    assert table.bars == {
        "likeness_lead": pytest.approx(0.1),
        "likeness_lead_style": pytest.approx(0.3),
        "setup_ratio": pytest.approx(100),
    }


def test_bars_stand_on_what_tuned_methods_were_given():
    """Pictures of nobody have one reference, whatever was asked for."""
    value, seconds = Estimate(0.5, 0.5, 0.5, 2), Seconds(1.0, 1.0)
    methods = {"style": 3, "words": 3, "words-nobody": 1, "inversion": 3, "dreambooth": 3}
    rows = tuple(Row(name, n, *[value] * 5, seconds) for name, n in methods.items())
    bars = Table({}, "own@1", None, None, None, {}, rows, ()).bars
    assert bars == {"likeness_lead": 0.0, "likeness_lead_style": 0.0, "setup_ratio": 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"references": ()}, r"references=\[\]"), ({"references": (2, 1)}, "references"),
     ({"n_people": 1}, "n_people=1"), ({"n_tuning": 1}, "n_people=1"),
     ({"inversion": TunedSettings((0.0,), (1,))}, "inversion.learning_rates"),
     ({"dreambooth": TunedSettings((1.0,), (0,))}, "dreambooth.iterations"),
     ({"dreambooth": TunedSettings((1.0,), (1,), batch=0)}, "dreambooth.batch"),
     ({"prior": PriorSettings(weight=-1)}, "prior.weight")],
)  # fmt: skip
def test_wrong_settings_are_refused(table_settings, changes, message):
    with pytest.raises(BadOption, match=message):
        check_table_settings(dataclasses.replace(table_settings, **changes))


def test_a_missing_file_is_refused(table_settings, tmp_path):
    with pytest.raises(MissingFile, match="gone"):
        check_table_settings(dataclasses.replace(table_settings, recogniser=tmp_path / "gone"))


def test_settings_are_read_from_toml(tmp_path):
    path = tmp_path / "table.toml"
    path.write_text('people = "people.tar"\nout = "out"\n[inversion]\nlearning_rates = [0.1]\n'
                    "iterations = [5]\n")  # fmt: skip
    read = load_settings(TableSettings, path, ["references=[1, 2]"])
    assert (read.references, read.inversion.iterations, read.n_photos) == ((1, 2), (5,), 3)
    path.write_text(to_toml(read))
    assert load_settings(TableSettings, path) == read


def test_names_are_these_and_documented():
    assert tuning.__all__ == ["Table", "TableSettings", "make_table"]
    assert all(getattr(tuning, name).__doc__ for name in tuning.__all__)
