"""What is given: photos, faces, styles, consent; and what is wrong with it, beside its field."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from facestudio.web.photos import KEPT_PX, MAX_UPLOAD_MB
from facestudio.web.session import NONE, OWN


@pytest.fixture
def couple(astronaut):
    """Two faces side by side, the right one smaller."""
    both = Image.new("RGB", (900, 512), "white")
    both.paste(astronaut, (0, 0))
    both.paste(astronaut.resize((388, 388)), (512, 60))
    return both


def test_a_photo_shows_its_face_numbered(giving, session, upload, astronaut):
    path = upload(astronaut)
    view = giving.take_photo(session, "you", path)
    assert view["problem:photo-you"] == ""
    assert 'data-pick="0" aria-pressed="true"' in view["photo-you"]
    assert "One face found." in view["photo-you"]
    assert session.photo().chosen == 0


def test_an_upload_is_gone_once_it_is_read(giving, session, upload, uploads, astronaut):
    giving.take_photo(session, "you", upload(astronaut))
    assert list(uploads.iterdir()) == []


def test_of_two_faces_one_is_chosen_and_can_be_changed(giving, session, upload, couple):
    view = giving.take_photo(session, "you", upload(couple))
    assert "2 faces found. Face" in view["photo-you"]
    view = giving.choose(session, "you", "1")
    assert 'data-pick="1" aria-pressed="true"' in view["photo-you"]
    assert session.photo().chosen == 1


@pytest.mark.parametrize("number", [-1, 2, 99])
def test_a_face_that_is_not_there_changes_nothing(giving, session, upload, couple, number):
    giving.take_photo(session, "you", upload(couple))
    before = session.photo().chosen
    giving.choose(session, "you", str(number))
    assert session.photo().chosen == before


def test_a_face_is_chosen_before_any_photo(giving, session):
    assert "Choose a photo" in giving.choose(session, "you", "0")["photo-you"]


def test_a_blurred_photo_is_said_at_once(giving, session, upload, astronaut):
    soft = astronaut.filter(ImageFilter.GaussianBlur(3))
    view = giving.take_photo(session, "you", upload(soft))
    assert "This face is blurred" in view["photo-you"]


def test_a_small_face_is_said_and_kept(giving, session, upload, astronaut):
    view = giving.take_photo(session, "you", upload(astronaut.resize((240, 240))))
    assert "too small" in view["photo-you"]
    assert session.photo().qualities[0].usable


def test_too_small_a_face_is_refused(giving, session, upload, astronaut):
    view = giving.take_photo(session, "you", upload(astronaut.resize((160, 160))))
    assert "too small" in view["problem:photo-you"]
    assert "40 are needed" in view["problem:photo-you"]
    assert session.photos == {}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"only words", "notes.txt", "notes.txt is not a picture that can be read."),
        (b"", "empty.jpg", "not a picture"),
        (b"\x89PNG\r\n\x1a\n then nothing", "cut.png", "not a picture"),
        (Image.new("RGB", (300, 200), "teal"), "wall.png", "No face was found"),
    ],
)
def test_a_bad_photo_is_refused_in_words(giving, session, upload, content, name, words):
    view = giving.take_photo(session, "you", upload(content, name))
    assert words in view["problem:photo-you"]
    assert 'role="alert"' in view["problem:photo-you"]
    assert session.photos == {}


def test_a_bad_photo_leaves_the_good_one(giving, ready, upload):
    view = giving.take_photo(ready, "you", upload(b"words", "notes.txt"))
    assert "photo-you" not in view
    assert ready.photo().faces


def test_a_large_photo_is_brought_down(giving, session, upload, astronaut):
    giving.take_photo(session, "you", upload(astronaut.resize((3000, 3000)), "large.jpg"))
    assert session.photo().image.size == (KEPT_PX, KEPT_PX)


def test_only_uploads_are_opened(giving, session, tmp_path, astronaut):
    outside = tmp_path / "private.png"
    astronaut.save(outside)
    for path in (str(outside), f"{giving.folder}/../private.png", "http://host/a.png", ""):
        view = giving.take_photo(session, "you", path)
        assert "did not arrive" in view["problem:photo-you"]
    assert outside.exists()


def test_an_upload_that_is_a_link_out_of_the_folder_is_not_followed(giving, session, tmp_path):
    outside = tmp_path / "private.png"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(outside)
    (giving.folder / "link.png").symlink_to(outside)
    view = giving.take_photo(session, "you", str(giving.folder / "link.png"))
    assert "did not arrive" in view["problem:photo-you"]
    assert outside.exists()


def test_names_are_escaped(giving, session, upload):
    view = giving.take_photo(session, "you", upload(b"x", "<img src=x onerror=alert(1)>.png"))
    assert "<img" not in view["problem:photo-you"]


def test_styles_are_chosen_by_name(giving, session):
    view = giving.choose_style(session, "oil")
    assert 'data-pick="oil" aria-pressed="true"' in view["style"]
    assert view["style"].count('aria-pressed="true"') == 1
    assert session.style_picture().size == (192, 192)


def test_words_only_is_a_style(giving, session):
    giving.choose_style(session, NONE)
    assert session.style_picture() is None


@pytest.mark.parametrize("name", ["no such", OWN, "../oil", ""])
def test_a_style_that_is_not_there_changes_nothing(giving, session, name):
    before = session.style
    giving.choose_style(session, name)
    assert session.style == before


def test_the_own_style_picture_is_chosen_at_once(giving, session, upload):
    view = giving.take_style(session, upload(Image.new("RGB", (40, 30), "red")))
    assert session.style == OWN
    assert session.style_picture().getpixel((3, 3)) == (255, 0, 0)
    assert "Your picture" in view["style"]


def test_a_bad_style_picture_is_refused_beside_the_styles(giving, session, upload):
    before = session.style
    assert "not a picture" in giving.take_style(session, upload(b"x", "a.jpg"))["problem:style"]
    assert session.style == before


def test_a_picture_to_start_from(giving, session, upload):
    view = giving.take_start(session, upload(Image.new("RGB", (40, 30), "red")))
    assert "The picture you chose" in view["start"]
    assert session.start.size == (40, 30)


@pytest.mark.parametrize(
    ("reason", "words"), [("large", f"over {MAX_UPLOAD_MB} MB"), ("broken", "interrupted")]
)
def test_what_the_browser_refused_is_said(giving, reason, words):
    assert words in giving.refuse("photo-you", reason)["problem:photo-you"]
