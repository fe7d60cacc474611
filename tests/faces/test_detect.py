"""Finding faces: the real detector on one photo, the rules on faces that are told."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from facestudio.errors import FaceTooSmall, MissingWeights, NoFace, SeveralFaces
from facestudio.faces import detect
from facestudio.faces.detect import find_face, find_faces, packaged_model


def test_the_astronaut(astronaut_face):
    x, y = astronaut_face.centre
    assert 200 < x < 250
    assert 100 < y < 160
    assert 80 < astronaut_face.width < 120
    assert astronaut_face.points.dtype == np.float32
    wanted = [[205, 103], [247, 105], [225, 128], [207, 150], [243, 150]]
    assert np.abs(astronaut_face.points - wanted).max() < 7
    assert (astronaut_face.eyes == astronaut_face.points[:2]).all()


@pytest.mark.parametrize("scale", [0.5, 1.5, 6])
def test_coordinates_follow_the_scale(astronaut, astronaut_face, detector, scale):
    resized = astronaut.resize((round(512 * scale), round(512 * scale)))
    face = find_face(resized, detector)
    assert np.abs(face.eyes / scale - astronaut_face.eyes).max() < 4


def test_a_tight_crop_is_padded(astronaut, detector):
    crop = astronaut.crop((192, 88, 258, 158))
    assert detector.detect(crop) == []
    face = find_face(crop, detector)
    left_eye, right_eye = face.eyes + np.array([192, 88])
    assert np.linalg.norm(left_eye - [205, 103]) < 8
    assert np.linalg.norm(right_eye - [247, 105]) < 8


def test_no_face(gradient, detector):
    with pytest.raises(NoFace) as caught:
        find_face(gradient(200, 100), detector, file="wall.jpg")
    assert "wall.jpg (200×100)" in caught.value.message
    assert caught.value.file == "wall.jpg"
    assert "60 pixels" in caught.value.hint


def test_a_small_face(astronaut, detector):
    with pytest.raises(FaceTooSmall) as caught:
        find_face(astronaut.resize((160, 160)), detector)
    assert "at least 40" in caught.value.message
    assert len(caught.value.boxes) == 1


def test_two_faces(astronaut, detector):
    both = Image.new("RGB", (1024, 512))
    both.paste(astronaut, (0, 0))
    both.paste(astronaut, (512, 0))
    with pytest.raises(SeveralFaces) as caught:
        find_face(both, detector)
    left, right = caught.value.boxes
    assert right[0] - left[0] == pytest.approx(512, abs=12)
    assert find_face(both, detector, largest=True).width > 80


def test_grey_and_tiny_pictures_are_taken(astronaut, detector):
    assert len(detector.detect(astronaut.convert("L"))) == 1
    assert detector.detect(Image.new("RGB", (1, 1))) == []
    assert detector.detect(Image.new("RGB", (500, 1))) == []


def test_threads_may_share_a_detector(astronaut, astronaut_face, detector):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(detector.detect(astronaut))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [faces[0].box for faces in found] == [astronaut_face.box] * 4


def test_faces_come_left_to_right(gradient, given_faces, make_face):
    faces = [make_face(60, 0, 20), make_face(10, 5, 20), make_face(30, 0, 20)]
    found = find_faces(gradient(100, 50), given_faces(faces))
    assert [face.box[0] for face in found] == [10, 30, 60]


def test_padding_is_taken_back_and_mirror_images_dropped(gradient, given_faces, make_face):
    detector = given_faces([], [make_face(40, 35, 60), make_face(-10, 35, 30)])
    (face,) = find_faces(gradient(100, 100), detector)
    assert detector.shown[1].size == (160, 160)
    assert face.box == (10, 5, 70, 65)
    assert np.allclose(face.points, make_face(10, 5, 60).points)


def test_faces_too_small_to_use_do_not_count(gradient, given_faces, make_face):
    faces = [make_face(10, 10, 50), make_face(70, 10, 20)]
    assert find_face(gradient(100, 100), given_faces(faces)).width == 50
    with pytest.raises(SeveralFaces):
        find_face(gradient(100, 100), given_faces(faces), min_px=20)
    with pytest.raises(FaceTooSmall) as caught:
        find_face(gradient(100, 100), given_faces(faces), min_px=51)
    assert "50×50" in caught.value.message


def test_largest_takes_the_most_central_of_the_large(gradient, given_faces, make_face):
    corner, middle, small = make_face(0, 0, 60), make_face(70, 70, 50), make_face(100, 95, 20)
    detector = given_faces([corner, middle, small])
    face = find_face(gradient(200, 200), detector, largest=True, min_px=10)
    assert face.box == middle.box


def test_the_least_width_is_40(gradient, given_faces, make_face):
    assert find_face(gradient(100, 100), given_faces([make_face(0, 0, 40)])).width == 40
    with pytest.raises(FaceTooSmall):
        find_face(gradient(100, 100), given_faces([make_face(0, 0, 39.5)]))


def test_missing_models_say_how_to_get_them(monkeypatch):
    with pytest.raises(MissingWeights, match="pip install"):
        packaged_model("none.dat")
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingWeights, match="face_recognition_models"):
        packaged_model("shape_predictor_5_face_landmarks.dat")
