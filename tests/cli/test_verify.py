"""`facestudio verify`: what is told of generated pictures, of photos, and of small ones."""

import pytest
from PIL import Image

from facestudio.images import write_picture
from facestudio.provenance.watermark import add_watermark


@pytest.fixture
def photo(astronaut, at_home) -> Image.Image:
    with Image.open(astronaut) as opened:
        return opened.convert("RGB")


def test_a_generated_picture_shows_both_traces(cli, photo):
    settings = {"generated": True, "model": "mini", "seed": 3}
    write_picture(add_watermark(photo), "a.jpg", settings)
    (answer,) = cli("verify", "a.jpg", "--json").json["pictures"]
    assert answer["path"] == "a.jpg"
    assert answer["generated"] is True
    assert answer["watermark"]["found"] is True
    assert answer["watermark"]["chance"] < 1e-3
    assert answer["settings"] == settings
    told = cli("verify", "a.jpg").out
    assert "generated" in told
    assert "model mini, seed 3" in told


def test_the_watermark_alone_is_enough(cli, photo):
    marked = add_watermark(photo)
    marked.resize((150, 150)).save("a.webp", quality=80)
    (answer,) = cli("verify", "a.webp", "--json").json["pictures"]
    assert answer["generated"] is True
    assert answer["settings"] is None
    assert "the file says nothing" in cli("verify", "a.webp").out


def test_a_photo_shows_none(cli, astronaut):
    outcome = cli("verify", astronaut, "--json")
    (answer,) = outcome.json["pictures"]
    assert outcome.code == 0
    assert (answer["generated"], answer["watermark"]["found"]) == (False, False)
    assert "no trace" in cli("verify", astronaut).out


def test_several_pictures_and_a_small_one(cli, astronaut, swatch):
    Image.open(swatch).resize((32, 32)).save("small.png")
    answers = cli("verify", astronaut, "small.png", "--json").json["pictures"]
    assert [answer["path"] for answer in answers] == [str(astronaut), "small.png"]
    assert answers[1]["watermark"] is None
    assert "too small" in cli("verify", "small.png").out


def test_a_file_that_is_no_picture(cli, at_home):
    (at_home / "a.png").write_text("no")
    answer = cli("verify", "a.png", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "not_a_picture")
