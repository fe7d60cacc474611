"""People are read from tars and folders, in an order and halves that never change."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from facestudio.errors import BadOption, NotAPicture
from facestudio.evaluation.people import Person, decode, groups_of, half_of, read_people


def png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade,) * 3).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    for person, photos in (("anna", 3), ("ben", 2), ("carl", 1)):
        (tmp_path / person).mkdir()
        for number in range(photos):
            (tmp_path / person / f"{number}.png").write_bytes(png(10 * number))
    return tmp_path


def test_tar_gives_the_people_its_records_name(people_tar):
    people = read_people(people_tar)
    assert {person.name for person in people} == {f"p{i}" for i in range(6)}
    assert people[0].reference.size == (192, 192)
    assert not np.array_equal(people[0].reference, people[0].other)
    assert {person.groups["gender"] for person in people} == {"male", "female"}


def test_a_folder_a_person_and_one_photo_is_not_enough(folder):
    people = {person.name: person for person in read_people(folder)}
    assert people.keys() == {"anna", "ben"}
    assert people["anna"].photos == (png(0), png(10), png(20))


def test_a_limit_takes_the_first_of_a_fixed_order(people_tar):
    everybody = [person.name for person in read_people(people_tar)]
    assert [person.name for person in read_people(people_tar, limit=3)] == everybody[:3]
    assert everybody != sorted(everybody), "names have no say in the order"


def test_halves_share_nobody_and_leave_out_nobody():
    names = [f"person {number}" for number in range(400)]
    halves = [half_of(name) for name in names]
    assert set(halves) == {"tune", "report"}
    assert 150 < halves.count("tune") < 250
    assert half_of("anna") == half_of("anna")
    assert [half_of(name) for name in ("a", "b", "c", "d")] == ["tune", "tune", "report", "report"]


def test_half_is_chosen(tmp_path):
    for number in range(12):
        (tmp_path / f"p{number}").mkdir()
        for each in range(2):
            (tmp_path / f"p{number}/{each}.png").write_bytes(png(each))
    tune, report = ({p.name for p in read_people(tmp_path, half)} for half in ("tune", "report"))
    assert not tune & report
    assert len(tune | report) == 12


def test_drawn_pictures_are_nobodys_photos(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for number, kind in enumerate(("photo", "drawn", "photo", "photo", "photo")):
            record = f'{{"person": "{"a" if number < 3 else "b"}", "kind": "{kind}"}}'.encode()
            for suffix, data in (("png", png(number)), ("json", record)):
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    photos = {person.name: person.photos for person in read_people(tmp_path / "x.tar")}
    assert photos == {"a": (png(0), png(2)), "b": (png(3), png(4))}


def test_groups_come_from_labels():
    assert groups_of({"gender": "male", "age": 17, "ethnicity": "Asian"}) == {
        "gender": "male", "age": "under 18", "ethnicity": "Asian",
    }  # fmt: skip
    assert groups_of({"age": 36})["age"] == "36 to 59"
    assert groups_of({"age": 60})["age"] == "60 and over"
    assert groups_of({"attributes": ["Male"]}) == {"gender": "male"}
    assert groups_of({"attributes": []}) == {"gender": "female"}
    assert groups_of({}) == {}


def test_as_many_photos_as_are_wanted(folder):
    (folder / "ben/2.png").write_bytes(png(20))
    two, three = (read_people(folder, photos=n) for n in (2, 3))
    assert [len(person.photos) for person in two] == [2, 2]
    assert [person.photos[:2] for person in three] == [person.photos for person in two]
    with pytest.raises(BadOption, match="0 people with 4 photos"):
        read_people(folder, photos=4)


def test_too_few_people_are_refused(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna/1.png").write_bytes(png(0))
    with pytest.raises(BadOption, match="0 people with 2 photos"):
        read_people(tmp_path)


def test_a_damaged_photo_is_passed_over(folder):
    (folder / "anna/0.png").write_bytes(b"damaged")
    (folder / "carl/2.png").write_bytes(png(20))
    people = {person.name: person for person in read_people(folder)}
    assert people["anna"].photos == (png(10), png(20))
    assert people.keys() == {"anna", "ben", "carl"}
    (folder / "carl/2.png").write_bytes(b"damaged")
    assert {person.name for person in read_people(folder)} == {"anna", "ben"}


def test_photo_that_is_none_is_refused():
    with pytest.raises(NotAPicture, match="10 bytes"):
        Person("x", (b"no picture", b"")).reference  # noqa: B018
    assert decode(png(3)).getpixel((0, 0)) == (3, 3, 3)
