"""prepare: from a tar to shards; resume, left-out pictures, several processes, a second pass."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facestudio.data import engines as module
from facestudio.data.prepare import PrepareSettings, SourceSettings, prepare
from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption

ARRAYS = ("latents", "latents_flipped", "identity", "style", "mask", "eyes", "pictures")


def test_every_picture_is_in_the_set_or_in_the_report(settings):
    report = prepare(settings)
    assert (report.samples, report.with_person, report.shards) == (14, 12, 2)
    assert report.counts() == {"not_a_picture": 1}
    assert report.left_out[0].key == "broken"
    assert json.loads((settings.out / "dataset.json").read_text())["encoder"] == "tiny@1"
    written = json.loads((settings.out / "report.json").read_text())
    assert written["counts"] == {"not_a_picture": 1}


def test_arrays_have_the_shapes_and_zeros_they_must(settings):
    prepare(settings)
    data = PreparedSet([settings.out], ARRAYS)
    assert data.arrays["latents"].shape == (14, 4, 4, 4)
    assert data.arrays["identity"].shape == (14, 22)
    scenes = np.array([record["source"] == "scenes" for record in data.records])
    assert not data.arrays["identity"][scenes].any()
    assert data.arrays["identity"][~scenes].any(1).all()
    assert np.isnan(data.arrays["eyes"][scenes]).all()
    assert data.arrays["mask"][~scenes].any((1, 2)).all()
    assert data.picture(0).shape == (32, 32, 3)


def test_drawn_copies_keep_the_person_and_say_their_look(settings):
    prepare(settings)
    data = PreparedSet([settings.out], ("identity",))
    drawn = [i for i, record in enumerate(data.records) if record.get("kind") == "drawn"]
    assert len(drawn) == 6
    for i in drawn:
        record = data.records[i]
        photo = next(
            j
            for j, other in enumerate(data.records)
            if record["key"] == f"{other['key']}_{record['style']}"
        )
        assert np.array_equal(data.arrays["identity"][i], data.arrays["identity"][photo])
        assert record["captions"]


def test_a_stopped_run_goes_on_without_loss_or_duplicate(settings, monkeypatch):
    whole = prepare(settings)
    wanted = (settings.out / "000-00000.safetensors").read_bytes()
    again = replace(settings, out=settings.out.with_name("again"))
    real = module.do_job

    def dies_on_the_second(job, out, developer):
        if job.name.startswith("001"):
            raise KeyboardInterrupt
        return real(job, out, developer)

    monkeypatch.setattr(module, "do_job", dies_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare(again)
    monkeypatch.setattr(module, "do_job", real)
    report = prepare(again)
    assert report.skipped_shards == 1
    assert report.samples == whole.samples
    assert (again.out / "000-00000.safetensors").read_bytes() == wanted


def test_a_prepared_set_can_be_prepared_again_with_other_parts(settings):
    bare = replace(settings, develop=replace(settings.develop, codec=None, identity=None))
    prepare(bare)
    second = replace(
        settings, out=settings.out.with_name("second"), sources=(SourceSettings(bare.out),)
    )
    assert prepare(second).samples == 14
    first, data = PreparedSet([bare.out], ("eyes",)), PreparedSet([second.out], ARRAYS)
    assert [r["key"] for r in data.records] == [r["key"] for r in first.records]
    assert [r["captions"] for r in data.records] == [r["captions"] for r in first.records]
    assert np.array_equal(data.arrays["eyes"], first.arrays["eyes"], equal_nan=True)


def test_found_faces_are_framed_like_the_rest(tmp_path, develop, astronaut):
    (tmp_path / "photos").mkdir()
    astronaut.save(tmp_path / "photos" / "eileen.png")
    source = SourceSettings(tmp_path / "photos", reframe=True)
    out = tmp_path / "set"
    prepare(PrepareSettings(out, (source,), replace(develop, size=64)))
    eyes = PreparedSet([out], ("eyes",)).arrays["eyes"][0] / 64
    assert np.allclose(eyes, [[0.375, 0.475], [0.625, 0.475]], atol=1e-5)


def test_another_sets_folder_is_refused(settings):
    prepare(settings)
    with pytest.raises(BadOption, match="made by other settings"):
        prepare(replace(settings, sources=settings.sources[:1]))
