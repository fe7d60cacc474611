"""Pictures are read from every layout, in order, and damage is told where it stands."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from facestudio.data.arrow_source import is_arrow_folder, picture_column
from facestudio.data.sources import RawSample, SourceProblem, open_source
from facestudio.data.tar_source import split_key
from facestudio.errors import BadOption, MissingFile


def picture(shade: int = 0, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(stream, kind)
    return stream.getvalue()


def write_tar(path, members, mode="w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5  # a fraction makes tarfile write an extended header, as in the wild
            tar.addfile(info, io.BytesIO(data))


def three_samples() -> list[tuple[str, bytes]]:
    return [
        ("a.png", picture(1)), ("a.json", b'{"person": "anna"}'), ("a.txt", b"a photo of anna\n"),
        ("b.png", picture(2)), ("b.json", b"{}"),
        ("c.png", picture(3)),
    ]  # fmt: skip


def split(items) -> tuple[list[RawSample], list[SourceProblem]]:
    items = list(items)
    samples = [item for item in items if isinstance(item, RawSample)]
    return samples, [item for item in items if isinstance(item, SourceProblem)]


# --- tars ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz"), ("x.tgz", "w:gz")]
)
def test_tar_gives_picture_record_and_caption(tmp_path, name, mode):
    write_tar(tmp_path / name, three_samples(), mode)
    source = open_source(tmp_path / name)
    samples, problems = split(source)
    assert (source.name, source.kind, problems) == ("x", "tar", [])
    assert [sample.key for sample in samples] == ["a", "b", "c"]
    assert samples[0] == RawSample("a", picture(1), {"person": "anna"}, "a photo of anna")
    assert samples[2] == RawSample("c", picture(3), {}, None)


def test_keys_keep_folders_and_inner_dots():
    assert split_key("set/j._doe_01.JPG") == ("set/j._doe_01", ".jpg")
    assert split_key("./00000123.json") == ("00000123", ".json")


def test_names_with_dots_are_samples_of_their_own(tmp_path):
    members = [("j._doe_1.png", picture(1)), ("j._doe_2.png", picture(2))]
    write_tar(tmp_path / "x.tar", members)
    samples, _ = split(open_source(tmp_path / "x.tar"))
    assert [sample.key for sample in samples] == ["j._doe_1", "j._doe_2"]


def test_folder_of_tars_is_one_part_a_tar(tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("00001.tar", "00000.tar", "more/00000.tar"):
        write_tar(tmp_path / name, three_samples())
    (tmp_path / "00000_stats.json").write_text("{}")
    source = open_source(tmp_path)
    assert [part.name for part in source.parts()] == ["00000", "00001", "more--00000"]
    assert len(list(source)) == 9


def test_parts_can_be_pickled_and_read_again(tmp_path):
    write_tar(tmp_path / "x.tar", three_samples())
    part = open_source(tmp_path / "x.tar").parts()[0]
    copy = pickle.loads(pickle.dumps(part))
    assert list(copy) == list(part) == list(part)


def test_broken_record_leaves_out_its_sample_alone(tmp_path):
    members = three_samples()
    members[4] = ("b.json", b'{"person": ')
    write_tar(tmp_path / "x.tar", members)
    samples, problems = split(open_source(tmp_path / "x.tar"))
    assert [sample.key for sample in samples] == ["a", "c"]
    assert problems[0].where == "x.tar: b.json"
    assert "broken JSON" in problems[0].message


def test_record_that_is_no_object_is_told(tmp_path):
    write_tar(tmp_path / "x.tar", [("a.png", picture()), ("a.json", b"[1]")])
    _, problems = split(open_source(tmp_path / "x.tar"))
    assert "holds a list" in problems[0].message


def test_labels_without_picture_and_empty_pictures_are_told(tmp_path):
    write_tar(tmp_path / "x.tar", [("a.json", b"{}"), ("b.png", b""), ("c.png", picture())])
    samples, problems = split(open_source(tmp_path / "x.tar"))
    assert [sample.key for sample in samples] == ["c"]
    assert [problem.message for problem in problems] == [
        "has labels but no picture",
        "the picture has no bytes",
    ]


def test_notes_in_a_tar_are_passed_over(tmp_path):
    members = [("._a.png", b"mac"), ("README.md", b"hello"), ("a.png", picture())]
    write_tar(tmp_path / "x.tar", members)
    samples, problems = split(open_source(tmp_path / "x.tar"))
    assert [sample.key for sample in samples] == ["a"]
    assert problems == []


@pytest.mark.parametrize(("name", "mode"), [("x.tar", "w"), ("x.tar.gz", "w:gz")])
def test_tar_cut_short_gives_what_stands_before(tmp_path, name, mode):
    noise = np.random.default_rng(0).bytes(20000)  # does not compress: the cut falls inside it
    write_tar(tmp_path / name, [*three_samples(), ("d.png", noise)], mode)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) - 12000])
    samples, problems = split(open_source(tmp_path / name))
    assert [sample.key for sample in samples] == ["a", "b", "c"]
    assert len(problems) == 1
    assert "6 files were read before" in problems[0].message


def test_tar_cut_inside_a_header_is_told(tmp_path):
    path = tmp_path / "x.tar"
    write_tar(path, [("a.png", picture())])
    header = path.read_bytes()[:200]
    with tarfile.open(path) as tar:
        member = tar.next()
        end = member.offset_data + -(-member.size // 512) * 512
    path.write_bytes(path.read_bytes()[:end] + header)
    samples, problems = split(open_source(path))
    assert len(samples) == 1
    assert "cut short" in problems[0].message


def test_reading_goes_on_behind_a_damaged_header(tmp_path):
    path = tmp_path / "x.tar"
    write_tar(path, [("a.png", picture(1)), ("b.png", picture(2)), ("c.png", picture(3))])
    with tarfile.open(path) as tar:
        second = tar.getmembers()[1]
    data = bytearray(path.read_bytes())
    data[second.offset : second.offset_data] = b"\xff" * (second.offset_data - second.offset)
    path.write_bytes(data)
    samples, problems = split(open_source(path))
    assert [sample.key for sample in samples] == ["a", "c"]
    assert "no tar members" in problems[0].message


def test_file_that_is_no_tar_is_a_problem_not_an_exception(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"not a gzip file at all")
    samples, problems = split(open_source(tmp_path / "x.tar.gz"))
    assert samples == []
    assert problems[0].where == "x.tar.gz"


# --- folders ---------------------------------------------------------------------------------


def test_folder_is_read_to_its_depth_with_labels_beside(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "anna/1.png").write_bytes(picture(1))
    (tmp_path / "anna/1.json").write_text(json.dumps({"age": 30}))
    (tmp_path / "anna/1.txt").write_text("a photo of anna")
    (tmp_path / "0.JPG").write_bytes(picture(2))
    (tmp_path / ".cache/9.png").write_bytes(picture(3))
    source = open_source(tmp_path)
    assert source.kind == "folder"
    assert list(source) == [
        RawSample("0", picture(2), {}, None),
        RawSample("anna/1", picture(1), {"age": 30}, "a photo of anna"),
    ]


def test_pictures_that_differ_in_suffix_alone_keep_it_in_their_keys(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        (tmp_path / name).write_bytes(picture())
    assert [sample.key for sample in open_source(tmp_path)] == ["a.jpg", "a.png", "b"]


def test_large_folder_comes_in_parts_that_together_are_all(tmp_path, monkeypatch):
    monkeypatch.setattr("facestudio.data.folder_source.PART_SIZE", 2)
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    source = open_source(tmp_path)
    parts = source.parts()
    assert [len(list(part)) for part in parts] == [2, 2, 1]
    assert len({part.name for part in parts}) == 3
    assert [item for part in parts for item in pickle.loads(pickle.dumps(part))] == list(source)


def test_file_that_went_away_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    source = open_source(tmp_path)
    (tmp_path / "a.png").unlink()
    _, problems = split(source)
    assert problems[0].where == "a.png"


# --- FFHQ ------------------------------------------------------------------------------------


@pytest.fixture
def ffhq(tmp_path):
    folder = tmp_path / "ffhq/images1024x1024/00000"
    folder.mkdir(parents=True)
    for number in (0, 7):
        (folder / f"{number:05d}.png").write_bytes(picture(number))
    entry = {
        "category": "validation",
        "metadata": {"author": "Anna", "license": "CC BY 2.0"},
        "image": {"face_landmarks": [[1.0, 2.0]]},
    }
    (tmp_path / "ffhq/ffhq-dataset-v2.json").write_text(json.dumps({"7": entry}))
    return tmp_path / "ffhq"


def test_ffhq_is_known_by_its_folders_and_has_its_labels(ffhq):
    source = open_source(ffhq)
    first, second = source
    assert source.kind == "ffhq"
    assert first.record == {"source": "ffhq", "kind": "photo"}
    assert second.key == "00000/00007"
    assert second.record["split"] == "val"
    assert second.record["license"] == "CC BY 2.0"
    assert second.record["landmarks"] == [[1.0, 2.0]]
    assert list(open_source(ffhq / "images1024x1024")) == [first, second]


def test_ffhq_without_or_with_broken_labels_still_gives_pictures(ffhq):
    (ffhq / "ffhq-dataset-v2.json").write_text("{")
    samples, problems = split(open_source(ffhq))
    assert len(samples) == 2
    assert problems[0].where == "ffhq-dataset-v2.json"
    (ffhq / "ffhq-dataset-v2.json").unlink()
    assert split(open_source(ffhq))[1] == []


# --- Hugging Face ----------------------------------------------------------------------------


def write_arrow(folder, rows, features=None) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow, which reads arrow files, is missing")
    folder.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))


def test_saved_dataset_gives_pictures_captions_and_class_names(tmp_path):
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["x", "y"]}}
    rows = [{"image": {"bytes": picture(1), "path": None}, "text": "a photo", "label": 1}]
    write_arrow(tmp_path / "set", rows, features)
    source = open_source(tmp_path / "set")
    (sample,) = source
    assert source.kind == "arrow"
    assert sample.picture == picture(1)
    assert sample.caption == "a photo"
    assert sample.record == {"text": "a photo", "label": "y"}
    assert list(pickle.loads(pickle.dumps(source.parts()[0]))) == [sample]


def test_saved_dataset_with_splits_names_them(tmp_path):
    write_arrow(tmp_path / "set/train", [{"image": {"bytes": picture(1), "path": None}}])
    write_arrow(tmp_path / "set/test", [{"image": {"bytes": picture(2), "path": None}}])
    (tmp_path / "set/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    samples, _ = split(open_source(tmp_path / "set"))
    assert [sample.record["split"] for sample in samples] == ["train", "test"]
    assert len({sample.key for sample in samples}) == 2


def test_rows_without_picture_or_with_a_lost_one_are_told(tmp_path):
    rows = [
        {"image": {"bytes": None, "path": "lost.png"}},
        {"image": {"bytes": picture(1), "path": None}},
    ]
    write_arrow(tmp_path / "set", rows)
    samples, problems = split(open_source(tmp_path / "set"))
    assert len(samples) == 1
    assert "row 0" in problems[0].where


def test_picture_column_is_found_by_declaration_form_or_name():
    struct = {"bytes": b"x", "path": None}
    assert picture_column({"a": struct, "b": struct}, {"b": {"_type": "Image"}}) == "b"
    assert picture_column({"note": "x", "a": struct}, {}) == "a"
    assert picture_column({"file": "x/1.PNG", "label": 1}, {}) == "file"
    assert picture_column({"file": "notes.txt"}, {}) is None


def test_arrow_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert is_arrow_folder(tmp_path)
    with pytest.raises(BadOption, match="pip install pyarrow"):
        open_source(tmp_path)


# --- refusals --------------------------------------------------------------------------------


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(MissingFile, match="no such data"):
        open_source(tmp_path / "nowhere")


def test_nothing_known_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(BadOption, match="no pictures found"):
            open_source(path)
