"""`facestudio generate` as a whole, on a tiny model: what it writes, prints and refuses."""

import errno
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.cli import gallery
from facestudio.images import read_metadata
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.speed import SPEEDS
from facestudio.settings import to_dict


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def generate(cli, model):
    """`generate("a.jpg", …)` with the tiny model."""
    return lambda *words: cli("generate", *words, "--model", model)


@pytest.fixture
def calls(monkeypatch) -> list:
    """What the pipeline is called with, from now on."""
    made = []
    original = FaceStudioPipeline.__call__

    def record(self, people, **options):
        made.append((people, options))
        return original(self, people, **options)

    monkeypatch.setattr(FaceStudioPipeline, "__call__", record)
    return made


def test_one_line_one_picture(generate, astronaut):
    done = generate(astronaut, "--prompt", "an ink drawing", "--seed", 7)
    assert done.code == 0
    assert pixels("portrait.png").shape == (32, 32, 3)
    assert re.search(r"portrait\.png +seed 7", done.out)
    assert "seconds" in done.out
    assert done.err == ""


def test_same_seed_same_picture(generate, anna):
    for out in ("a.png", "b.png"):
        assert generate(anna, "--prompt", "a man", "--seed", 3, "-o", out).code == 0
    assert generate(anna, "--prompt", "a man", "--seed", 4, "-o", "c.png").code == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    assert (pixels("a.png") != pixels("c.png")).any()


def test_a_seed_is_chosen_and_told(generate, anna):
    answer = generate(anna, "--prompt", "a man", "--json").json
    seed = answer["outputs"][0]["seed"]
    assert 0 <= seed < 2**31
    assert generate(anna, "--prompt", "a man", "--seed", seed, "-o", "b.png").code == 0
    np.testing.assert_array_equal(pixels("portrait.png"), pixels("b.png"))


def test_json_has_the_promised_form(generate, anna):
    answer = generate(anna, "--prompt", "a man", "-n", 2, "--seed", 5, "--json").json
    assert set(answer) == {"ok", "outputs", "settings", "seconds"}
    assert answer["ok"] is True
    assert [o["path"] for o in answer["outputs"]] == ["portrait-1.png", "portrait-2.png"]
    assert [o["seed"] for o in answer["outputs"]] == [5, 6]
    assert all(set(o) == {"path", "seed", "likeness"} for o in answer["outputs"])
    assert answer["settings"]["prompt"] == "a man"
    assert answer["settings"]["num_images_per_prompt"] == 2
    assert answer["settings"]["seed"] == 5
    assert answer["seconds"] > 0


def test_many_pictures_come_in_batches_and_each_equals_itself_alone(
    generate, anna, monkeypatch, calls
):
    monkeypatch.setattr(gallery, "BATCH", 2)
    assert generate(anna, "--prompt", "a man", "-n", 3, "--seed", 5).code == 0
    assert [options["num_images_per_prompt"] for _, options in calls] == [2, 1]
    assert generate(anna, "--prompt", "a man", "--seed", 7, "-o", "alone.png").code == 0
    np.testing.assert_allclose(
        pixels("portrait-3.png").astype(int), pixels("alone.png").astype(int), atol=1
    )


def test_the_picture_holds_its_settings_and_no_photo(generate, astronaut):
    assert generate(astronaut, "--prompt", "a man", "-n", 2, "--seed", 5).code == 0
    settings = read_metadata("portrait-2.png")
    assert settings["seed"] == 6
    assert settings["num_images_per_prompt"] == 1
    assert settings["prompt"] == "a man"
    assert len(str(settings)) < 5000
    assert str(astronaut) not in str(settings)


def test_options_reach_the_pipeline_by_its_names(generate, anna, swatch, calls):
    words = ["--prompt", "a man", "--style", swatch, "--alpha", 0.25, "--steps", 2]
    scales = ["--guidance-scale", 2, "--identity-scale", 0.5, "--style-scale", 0.75]
    size = ["--width", 40, "--height", 48]
    assert generate(anna, *words, *scales, *size).code == 0
    _, options = calls[0]
    wanted = {
        "prompt": "a man", "style": swatch, "alpha": 0.25, "num_inference_steps": 2,
        "guidance_scale": 2, "identity_scale": 0.5, "style_scale": 0.75, "width": 40, "height": 48,
    }  # fmt: skip
    assert {name: options[name] for name in wanted} == wanted
    assert pixels("portrait.png").shape == (48, 40, 3)


@pytest.mark.parametrize("speed", ["exact", "balanced", "fast", "draft"])
def test_the_speed_is_the_calls_and_stands_in_the_picture(generate, calls, speed):
    assert generate("--prompt", "a man", "--speed", speed).code == 0
    _, options = calls[0]
    assert options["speed"] == speed
    assert read_metadata("portrait.png")["speed"] == to_dict(SPEEDS[speed])


def test_the_networks_have_the_type_asked_for(generate, monkeypatch):
    dtypes = []
    original = FaceStudioPipeline.run

    def look(self, request):
        dtypes.append(self.unet.dtype)
        return original(self, request)

    monkeypatch.setattr(FaceStudioPipeline, "run", look)
    assert generate("--prompt", "a man", "--dtype", "bfloat16").code == 0
    assert generate("--prompt", "a man", "--dtype", "float32").code == 0
    assert dtypes == [torch.bfloat16, torch.float32]


def test_options_not_given_are_left_to_the_pipeline(generate, calls):
    assert generate("--prompt", "a man").code == 0
    people, options = calls[0]
    assert people is None
    assert set(options) == {"prompt", "seed", "num_images_per_prompt", "callback_on_step_end"}


def test_image_to_image(generate, anna, swatch):
    assert generate(anna, "--image", swatch, "--strength", 0.5).code == 0


def test_mix_weighs_the_people(generate, anna, couple, calls):
    words = ["--largest", "--prompt", "a man"]
    assert generate(anna, "--mix", f"{couple}:0.25", *words).code == 0
    identity, _ = calls[0]
    assert identity.photos.shape[0] == 2


def test_photos_of_two_people_are_told_and_how_to_draw_both(generate, astronaut, monkeypatch):
    assert "two people" not in generate(astronaut, astronaut, "--prompt", "a man").err
    monkeypatch.setattr("facestudio.identities.profile.STRANGERS", 1.1)
    done = generate(astronaut, astronaut, "--prompt", "a man", "--force")
    assert done.code == 0
    assert "warning: photos 1 and 2 look like two people (similarity 1.00" in done.err
    assert "--person PHOTO" in done.err


def test_several_people_without_places_stand_side_by_side(generate, anna, calls):
    people = ["--person", anna, "--person", anna]
    assert generate(*people, "--prompt", "a man").code == 0
    (both, options) = calls[0]
    assert len(both) == 2
    assert "regions" not in options


def test_several_people_in_their_places(generate, anna, calls):
    people = ["--person", f"{anna}:0,0,.5,1", "--person", f"{anna}:.5,0,1,1"]
    assert generate(*people, "--prompt", "a man", "--background", "random").code == 0
    identities, options = calls[0]
    assert len(identities) == 2
    assert options["regions"] == [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]
    assert options["background"] == "random"


def test_saved_people_stand_for_photos(generate, anna, astronaut, calls):
    for photos in ([anna], [anna, astronaut]):
        assert generate(*photos, "--prompt", "a man", "--seed", 1).code == 0
    (alone, _), (both, _) = calls
    assert alone.photos.shape[0] == 1
    assert both.photos.shape[0] == 2


def test_pictures_go_where_they_are_told(generate, anna):
    Path("out").mkdir()
    assert generate(anna, "--prompt", "a man", "-o", "out").code == 0
    assert generate(anna, "--prompt", "a man", "-o", "out/a.webp").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.webp", "portrait.png"]


BAD_CALLS = [
    (["x.jpg", "--alpha", "2", "--prompt", "p"], 2, "bad_option", ["--alpha", "2"]),
    (["x.jpg", "--alpha", "much", "--prompt", "p"], 2, "bad_option", ["--alpha", "much"]),
    (["x.jpg", "--strength", "-1", "--prompt", "p"], 2, "bad_option", ["--strength", "-1"]),
    (["x.jpg", "-n", "0", "--prompt", "p"], 2, "bad_option", ["-n", "0"]),
    (["x.jpg", "--seed", "-5", "--prompt", "p"], 2, "bad_option", ["--seed", "-5"]),
    (["x.jpg", "--background", "red", "--prompt", "p"], 2, "bad_option", ["red", "style"]),
    (["x.jpg", "--nonsense"], 2, "bad_option", ["--nonsense"]),
    (["x.jpg", "--style"], 2, "bad_option", ["--style"]),
    (["x.jpg"], 2, "bad_option", ["--prompt", "--style"]),
    (["x.jpg", "--mix", "y.jpg", "--prompt", "p"], 2, "bad_option", ["--mix", "y.jpg"]),
    (["--mix", "y.jpg:1", "--prompt", "p"], 2, "bad_option", ["--mix"]),
    (["x.jpg", "--person", "y.jpg", "--prompt", "p"], 2, "bad_option", ["--person"]),
    (["--person", "y.jpg:0,0,9,9", "--prompt", "p"], 2, "bad_region", ["0,0,9,9"]),
    (["--person", "y.jpg:a,b", "--prompt", "p"], 2, "bad_region", ["a,b"]),
    (["x.jpg", "--prompt", "p", "-o", "no/folder/a.png"], 2, "bad_output", ["no/folder"]),
    (["x.jpg", "--prompt", "p", "-o", "a.gif"], 2, "bad_output", [".gif"]),
    (["x.jpg", "--prompt", "p", "-o", "/proc/a.png"], 2, "bad_output", ["/proc"]),
    (["x.jpg", "--prompt", "p"], 3, "missing_file", ["x.jpg"]),
    (["--prompt", "p", "--style", "x.jpg"], 3, "missing_file", ["x.jpg"]),
    (["text.jpg", "--prompt", "p"], 3, "not_a_picture", ["text.jpg"]),
    (["empty.png", "--prompt", "p"], 3, "not_a_picture", ["empty.png"]),
    (["half.png", "--prompt", "p"], 3, "not_a_picture", ["half.png"]),
    ([".", "--prompt", "p"], 3, "not_a_picture", ["."]),
    (["@nobody", "--prompt", "p"], 2, "bad_option", ["nobody"]),
    (["@../x", "--prompt", "p"], 2, "bad_option", ["../x"]),
]


@pytest.fixture
def bad_files(at_home) -> None:
    """Files that are called pictures and are none."""
    Path("text.jpg").write_text("hello")
    Path("empty.png").touch()
    make = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(make).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:4000])


@pytest.mark.parametrize(("words", "code", "name", "told"), BAD_CALLS)
def test_bad_input_says_what_and_writes_nothing(cli, model, bad_files, words, code, name, told):
    before = sorted(Path().iterdir())
    plain = cli("generate", "--model", model, *words)
    as_json = cli("generate", "--model", model, "--json", *words)
    assert plain.code == as_json.code == code, plain.err
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    error = as_json.json["error"]
    assert error["code"] == name
    for word in told:
        assert word in error["message"] + str(error["file"])
    assert sorted(Path().iterdir()) == before


def test_no_face(generate, swatch):
    answer = generate(swatch, "--prompt", "a man", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "no_face")
    assert "swatch.png" in answer.json["error"]["message"]


def test_several_faces_are_told_with_boxes(generate, couple):
    answer = generate(couple, "--prompt", "a man", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "several_faces")
    assert len(answer.json["error"]["boxes"]) == 2


def test_a_face_that_is_too_small(generate, astronaut):
    Image.fromarray(pixels(astronaut)).resize((60, 60)).save("small.png")
    answer = generate("small.png", "--prompt", "a man", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "face_too_small")


def test_a_picture_that_is_too_large(generate, monkeypatch):
    Image.new("1", (10_000, 7_000)).save("large.png")
    answer = generate("large.png", "--prompt", "a man", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "too_large")


def test_people_without_a_place(generate, anna, swatch):
    people = ["--person", anna, "--person", anna]
    answer = generate(*people, "--image", swatch, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_region")


def test_a_size_the_model_cannot_make(generate, anna):
    answer = generate(anna, "--prompt", "a man", "--width", 33, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert "width=33" in answer.json["error"]["message"]


def test_models_that_are_none(cli, anna):
    Path("folder").mkdir()
    for name in ("no-such-model", "folder"):
        answer = cli("generate", anna, "--prompt", "a man", "--model", name, "--json")
        assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")
        assert answer.json["error"]["hint"]


def test_someone_saved_with_another_encoder(generate, at_home):
    from facestudio.faces.identity import Identity
    from facestudio.identities.store import IdentityStore

    vector = np.ones(4, np.float32)
    IdentityStore().add("ben", Identity(vector, "other@9", 4, vector[None]))
    answer = generate("@ben", "--prompt", "a man", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "encoder_mismatch")


def after_first_batch(monkeypatch, problem: BaseException) -> None:
    """Let the pipeline fail when it is called a second time."""
    original, seen = FaceStudioPipeline.__call__, []

    def call(self, people, **options):
        if seen:
            raise problem
        seen.append(1)
        return original(self, people, **options)

    monkeypatch.setattr(gallery, "BATCH", 1)
    monkeypatch.setattr(FaceStudioPipeline, "__call__", call)


def test_ctrl_c_keeps_what_is_done(generate, anna, monkeypatch):
    after_first_batch(monkeypatch, KeyboardInterrupt())
    done = generate(anna, "--prompt", "a man", "-n", 3)
    assert done.code == 130
    assert "kept: portrait-1.png" in done.err
    assert [path.name for path in Path().glob("*.png")] == ["portrait-1.png"]


def test_ctrl_c_before_anything_is_done(generate, anna, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(FaceStudioPipeline, "from_pretrained", interrupt)
    answer = generate(anna, "--prompt", "a man", "--json")
    assert answer.code == 130
    assert answer.json["error"]["code"] == "interrupted"
    assert "nothing was written" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
    ],
)
def test_the_machine_gives_out(generate, anna, monkeypatch, problem, name):
    after_first_batch(monkeypatch, problem)
    answer = generate(anna, "--prompt", "a man", "-n", 2, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (5, name)
