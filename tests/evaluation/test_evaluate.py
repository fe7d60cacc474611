"""The whole evaluation on a tiny pipeline: figures, files, going on after a stop, refusals."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facestudio import evaluation
from facestudio.data.shards import Sample, write_json, write_shard
from facestudio.errors import BadOption, BadOutput, EncoderMismatch, MissingFile
from facestudio.evaluation import evaluate as evaluate_function
from facestudio.evaluation import outputs
from facestudio.evaluation.bars import BARS
from facestudio.evaluation.evaluate import measure_size
from facestudio.evaluation.measures import Scale
from facestudio.evaluation.near import closest
from facestudio.evaluation.people import read_people
from facestudio.evaluation.report import PeopleCount
from facestudio.evaluation.settings import (
    EvaluationSettings,
    PairSettings,
    SeedSettings,
    StyleSettings,
    WordSettings,
    check_settings,
)
from facestudio.faces.embed import encoder_id
from facestudio.images import read_picture
from facestudio.settings import load_settings, to_toml


@pytest.fixture
def run(settings, pipe, judged_by_colour):
    """Evaluate the tiny pipeline with changed settings."""

    def evaluate(**changes):
        changed = dataclasses.replace(settings, **changes)
        return evaluate_function(changed, pipe=pipe)

    return evaluate


@pytest.fixture
def copying(monkeypatch):
    """A pipeline whose every picture is the reference photo, or nobody's without identity."""

    def make(pipe, settings, condition, person, identity):
        return person.reference if condition.identity else Image.new("RGB", (64, 64), "grey")

    monkeypatch.setattr(outputs, "make_picture", make)


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_report_and_pictures_are_written(run, settings):
    report = run()
    written = json.loads((settings.out / "report.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(report.to_dict()))
    assert written["people"] == {
        "read": 6, "without_face": 0, "near_training": 0, "evaluated": 6, "gallery": 6,
    }  # fmt: skip
    assert [each["name"] for each in written["conditions"]] == ["prompt-0", "prompt-0-nobody"]
    assert written["conditions"][0]["with_face"]["mean"] == 1
    assert written["recogniser"].startswith("colour@")
    made = files_in(settings.out)
    assert {"report.md", "sheets/sheet-00.jpg", "outputs/prompt-0/p0.png"} <= made
    assert sum(name.startswith("outputs/prompt-0/") for name in made) == 6
    assert read_picture(settings.out / "outputs/prompt-0/p0.png").size == (32, 32)


def test_real_photos_are_the_ceiling_and_strangers_the_floor(run):
    real = run().real["independent"]
    assert real.same.mean > 0.9
    assert real.rank1.mean == 1
    assert real.strangers < 0.5
    assert real.strangers_high < real.same.low


@pytest.mark.usefixtures("copying")
def test_a_pipeline_that_copies_is_seen_through(run):
    with_identity, without = run().conditions
    found = with_identity.independent
    assert found.reference.mean == pytest.approx(1, abs=1e-3)
    assert found.rank1_other.mean == 1
    assert found.verified_other.mean == 1
    assert found.copy_paste.mean > 0.9
    assert with_identity.own.reference.mean == pytest.approx(1, abs=1e-2)
    assert without.independent.reference.mean < 0.5
    assert without.independent.rank1_reference.mean < 0.5


@pytest.mark.usefixtures("copying")
def test_groups_have_figures_of_their_own(run):
    groups = run().groups
    assert groups.keys() == {"gender=female", "gender=male"}
    assert groups["gender=male"].reference.n == 3
    assert groups["gender=male"].real_pairs.mean > 0.9


def test_outputs_without_a_face_count_as_nothing(run, judged_by_colour):
    judged_by_colour.blind_below = 64  # sees the photos, not the 32 px outputs
    result = run().conditions[0]
    assert result.with_face.mean == 0
    assert result.independent.reference.mean == 0
    assert result.independent.rank1_reference.mean == 0
    assert result.independent.copy_paste.n == 0


def test_dlib_may_be_the_independent_recogniser(run):
    report = run(recogniser=Path("dlib"))
    assert report.recogniser == "dlib@v1"


def test_without_a_recogniser_the_models_own_encoder_speaks(run, settings):
    report = run(recogniser=None)
    assert report.recogniser is None
    assert report.conditions[0].independent is None
    assert report.conditions[0].own.reference.n == 6
    assert "flatters the model" in (settings.out / "report.md").read_text("utf-8")


def test_a_second_run_makes_nothing_and_gives_the_same(run, monkeypatch):
    first = run()
    monkeypatch.setattr(outputs, "make_picture", lambda *given: pytest.fail("made again"))
    assert run() == first


def test_a_stopped_run_goes_on_and_gives_the_same(run, settings, monkeypatch, tmp_path):
    whole = run(out=tmp_path / "whole", n_people=4)
    make, made = outputs.make_picture, []

    def stop_after_five(*given):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(given)
        return make(*given)

    monkeypatch.setattr(outputs, "make_picture", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        run(n_people=4)
    assert sum(name.endswith(".png") for name in files_in(settings.out)) == 5
    monkeypatch.setattr(outputs, "make_picture", make)
    again = run(n_people=4)
    assert again.conditions == whole.conditions


def test_more_people_add_to_those_before(run, settings):
    run(n_people=2, without_identity=False)
    before = {name: (settings.out / name).stat().st_mtime_ns
              for name in files_in(settings.out) if name.startswith("outputs/")}  # fmt: skip
    assert run(n_people=4, without_identity=False).people.evaluated == 4
    assert len(before) == 2
    assert all((settings.out / name).stat().st_mtime_ns == time for name, time in before.items())


def test_pictures_of_other_settings_or_another_model_are_not_mixed_in(run, pipe):
    run(n_people=2)
    with pytest.raises(BadOption, match="another seed"):
        run(n_people=2, seed=1)
    pipe.guidance.join.weight.data.add_(1)
    with pytest.raises(BadOption, match="another weights"):
        run(n_people=2)


def test_every_condition_is_made(run, settings, tmp_path):
    style = tmp_path / "poster.png"
    Image.new("RGB", (64, 64), "red").save(style)
    report = run(prompts=("a man", "a woman"), styles=(style,), own_style=True, n_people=2)
    names = [f"{name}{end}" for name in ("prompt-0", "prompt-1", "style-0", "own-style")
             for end in ("", "-nobody")]  # fmt: skip
    assert [each.name for each in report.conditions] == names
    assert read_picture(settings.out / "sheets/sheet-00.jpg").size[0] == 10 * 160
    page = (settings.out / "report.md").read_text("utf-8")
    assert "| a woman, without identity |" in page
    assert "two real photos" in page


def test_with_and_without_identity_start_from_the_same_noise(pipe, settings):
    calls = []

    class Recorder:
        def __call__(self, identity, **options):
            calls.append((identity, options))
            return type("Output", (), {"images": ["picture"]})

    person = read_people(settings.people)[0]
    for condition in outputs.list_conditions(settings):
        outputs.make_picture(Recorder(), settings, condition, person, "identity")
    (with_identity, one), (without, other) = calls
    assert (with_identity, without) == ("identity", None)
    assert one == other
    assert one["seed"] == outputs.seed_of(person.name, 0) != outputs.seed_of(person.name, 1)


def test_progress_counts_every_picture(settings, pipe, judged_by_colour):
    seen = []
    changed = dataclasses.replace(settings, n_people=2)
    evaluate_function(changed, lambda done, total: seen.append((done, total)), pipe)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- people who are in the training data ---------------------------------------------------------


def write_prepared(folder, vectors, encoder_name):
    folder.mkdir()
    zero = {"latents": np.zeros((1, 2, 2)), "latents_flipped": np.zeros((1, 2, 2)),
            "style": np.zeros(2), "mask": np.zeros((2, 2)), "eyes": np.zeros((2, 2)),
            "box": np.zeros(4)}  # fmt: skip
    samples = [Sample({**zero, "identity": each}, b"", {"key": str(i)})
               for i, each in enumerate(vectors)]  # fmt: skip
    write_shard(folder, "shard-00000", samples)
    write_json(folder / "dataset.json", {"encoder": encoder_name})


def test_people_of_the_training_data_are_left_out(run, pipe, settings, tmp_path, judged_by_colour):
    people = read_people(settings.people)
    pipe.detector = judged_by_colour
    known = pipe.identity(people[2].other).embedding
    nobody = np.zeros_like(known)
    write_prepared(tmp_path / "set", [nobody, known], encoder_id(pipe.identity_encoder))
    report = run(against=(tmp_path / "set",), near=0.9995, without_identity=False)
    assert report.people == PeopleCount(6, 0, near_training=1, evaluated=5, gallery=6)
    assert not (settings.out / "outputs/prompt-0" / f"{people[2].name}.png").exists()


def test_sets_of_another_encoder_cannot_be_compared(run, pipe, tmp_path):
    vectors = np.ones((1, pipe.identity_encoder.dimension))
    write_prepared(tmp_path / "set", vectors, "other@1")
    with pytest.raises(EncoderMismatch, match="other@1"):
        run(against=(tmp_path / "set",))


def test_closest_takes_the_best_of_all_photos():
    known = np.eye(3)
    photos = [np.array([[1, 0, 0], [1, 1, 0.0]]), np.array([[0, 0, -1], [np.nan] * 3])]
    assert np.allclose(closest(known, photos, Scale()), [1, np.sqrt(0.5)])
    assert closest(known, [np.full((1, 3), np.nan)], Scale())[0] == -np.inf


# --- refusals and settings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"n_people": 1}, "n_people=1"), ({"prompts": ()}, "nothing to make"),
     ({"near": 1.5}, "near=1.5"), ({"false_accepts": 0.0}, "false_accepts=0.0")],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, changes, message):
    with pytest.raises(BadOption, match=message):
        check_settings(dataclasses.replace(settings, **changes))


@pytest.mark.parametrize("name", ["people", "recogniser", "styles", "against"])
def test_missing_files_are_refused_before_any_work(settings, tmp_path, name):
    gone = tmp_path / "gone"
    value = (gone,) if name in ("styles", "against") else gone
    with pytest.raises(MissingFile, match="gone"):
        check_settings(dataclasses.replace(settings, **{name: value}))


def test_out_folder_that_cannot_be_made_is_refused(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadOutput, match="cannot be made"):
        run(out=tmp_path / "file/out")


def test_nobody_with_a_face_is_refused(run, judged_by_colour):
    judged_by_colour.blind_below = 10_000
    with pytest.raises(BadOption, match="nobody is left"):
        run()


def test_settings_are_read_from_toml(tmp_path):
    path = tmp_path / "evaluation.toml"
    path.write_text('people = "people.tar"\nout = "out"\nhalf = "tune"\nprompts = ["a", "b"]\n')
    read = load_settings(EvaluationSettings, path, ["n_people=10"])
    assert (read.half, read.prompts, read.n_people) == ("tune", ("a", "b"), 10)
    path.write_text(to_toml(read))
    assert load_settings(EvaluationSettings, path) == read


def test_names_are_these_and_documented():
    assert evaluation.__all__ == ["EvaluationSettings", "Report", "evaluate"]
    assert all(getattr(evaluation, name).__doc__ for name in evaluation.__all__)


def test_names_of_people_make_files_of_their_own(tmp_path):
    condition = outputs.Condition("prompt-0", "prompt", "a photo", identity=True)
    paths = {outputs.output_path(tmp_path, condition, name).name for name in ("a/b", "a b", "a_b")}
    assert len(paths) == 3
    assert "a_b.png" in paths


# --- style, words, quality, pairs ----------------------------------------------------------------


@pytest.fixture
def everything(run, classifiers, classifier_settings, real_set):
    """An evaluation with every table."""

    def evaluate(**changes):
        return run(
            classifiers=classifier_settings.out, real=(real_set,), n_real=8, min_group=2, **{
                "style": StyleSettings(("ink",), {"ink": "a man"}, n_people=3),
                "words": WordSettings({"smiling": "a man smiling"}, n_people=2),
                "seeds": SeedSettings(n_seeds=2, n_people=2),
                "pairs": PairSettings("a man", n_pairs=2),
                "prompts": ("a woman",),
            } | changes,
        )  # fmt: skip

    return evaluate


def test_every_table_is_filled(everything, settings):
    report = everything()
    names = [each.name for each in report.conditions]
    assert names == ["prompt-0", "prompt-0-nobody", "shown-ink", "named-ink", "words-smiling"]
    assert [each.with_face.n for each in report.conditions] == [6, 6, 3, 3, 2]
    assert report.averages.keys() == {"photographic", "drawn", "without_identity"}
    assert [(each.style, each.by) for each in report.styles] == [
        ("ink", "picture"),
        ("ink", "prompt"),
    ]
    assert report.words[0].points.n == 2
    assert report.quality.n == 6
    assert report.pairs.both.n == 2
    assert {"gender=male", "apparent age=18 to 35"} & report.groups.keys()
    page = (settings.out / "report.md").read_text("utf-8")
    heads = [line[3:] for line in page.splitlines() if line.startswith("## ")]
    assert heads == ["Bars", "Likeness", "Groups", "Style", "Words", "Quality and variety",
                     "Two people"]  # fmt: skip
    made = files_in(settings.out)
    assert {"sheets/style/sheet-00.jpg", "sheets/words/sheet-00.jpg", "sheets/pairs/sheet-00.jpg",
            "plots/likeness.png", "plots/groups.png", "styles/ink/p0.png"} <= made  # fmt: skip


@pytest.mark.usefixtures("copying")
def test_every_bar_has_a_plain_key(everything, settings):
    report = everything()
    written = json.loads((settings.out / "report.json").read_text("utf-8"))["bars"]
    assert written.keys() == {bar.key for bar in BARS}
    unknown = {key for key, value in written.items() if value is None}
    assert unknown == {"model_mb", "warm_seconds"}  # a pipeline was given, nothing was timed
    assert written["face_found"] == 1
    assert written["without_identity"] == report.averages["without_identity"].reference.mean
    assert written["attributes_points"] == 100 * report.words[0].points.mean


def test_every_table_is_the_same_again(everything, monkeypatch):
    first = everything()
    monkeypatch.setattr(outputs, "make_picture", lambda *given: pytest.fail("made again"))
    assert everything() == first


def test_a_style_is_shown_by_a_held_out_picture(everything, settings, classifiers):
    everything()
    shown = sorted((settings.out / "styles/ink").iterdir())
    assert len(shown) == 3
    assert min(np.asarray(read_picture(path)).mean() for path in shown) > 200


def test_seeds_start_from_other_noise(everything, settings):
    everything()
    same, other = (settings.out / f"outputs/{name}" for name in ("prompt-0", "seed-1"))
    people = [path.name for path in other.iterdir()]
    assert len(people) == 2
    assert all((same / name).read_bytes() != (other / name).read_bytes() for name in people)


def test_words_of_a_condition_may_not_change_on_the_way(everything):
    everything()
    with pytest.raises(BadOption, match="another words-smiling"):
        everything(words=WordSettings({"smiling": "a woman smiling"}))
    with pytest.raises(BadOption, match="another pairs"):
        everything(pairs=PairSettings("a woman"))


def test_tables_say_what_they_need(settings):
    for name, table in (("style", StyleSettings(("ink",))), ("words", WordSettings({}))):
        with pytest.raises(BadOption, match=f"{name}.* needs classifiers"):
            check_settings(dataclasses.replace(settings, **{name: table}))
    with pytest.raises(BadOption, match="first of prompts"):
        check_settings(
            dataclasses.replace(settings, seeds=SeedSettings(), prompts=(), own_style=True)
        )


def test_time_of_a_picture_is_taken_and_compares_with_nothing(run):
    report, again = run(timed=2), run(timed=2)
    assert report.speed.pictures == 2
    assert report.bars["warm_seconds"] == report.speed.seconds > 0
    assert report == again


def test_size_of_a_model_is_that_of_its_files():
    size = measure_size("mini")
    assert 1 < size < 200


def test_outputs_are_looked_for_among_everybody_of_the_set(run):
    report = run(n_people=2)
    assert (report.people.evaluated, report.people.gallery) == (2, 6)
    assert report.real["independent"].rank1.n == 6
    assert report.conditions[0].independent.rank1_other.n == 2
