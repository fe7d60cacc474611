"""Python looks for no garbage while the package starts, and for as much as before afterwards."""

import gc

import pytest

import facestudio
from facestudio import FaceStudioPipeline, _garbage
from facestudio.pipeline import pipeline


@pytest.fixture(autouse=True)
def collector():
    """Python's collector is on, whatever a test leaves behind."""
    gc.enable()
    yield
    gc.enable()


def test_it_is_off_within_and_on_again_after():
    with _garbage.leaving_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_on_again_where_something_fails():
    with pytest.raises(OSError, match="no disk"), _garbage.leaving_garbage():
        raise OSError("no disk")
    assert gc.isenabled()


def test_who_switched_it_off_keeps_it_off():
    gc.disable()
    with _garbage.leaving_garbage():
        pass
    assert not gc.isenabled()


def test_names_are_imported_and_models_read_without_it(monkeypatch):
    seen = []
    importing, reading = facestudio.import_module, pipeline.load_parts
    monkeypatch.setattr(facestudio, "import_module", noting(importing, seen))
    monkeypatch.setattr(pipeline, "load_parts", noting(reading, seen))
    assert facestudio.FaceStudioOutput
    FaceStudioPipeline.from_pretrained("mini")
    assert seen == [False, False]
    assert gc.isenabled()


def test_a_model_is_fetched_with_it(monkeypatch):
    seen, finding = [], pipeline.find_model
    monkeypatch.setattr(pipeline, "find_model", noting(finding, seen))
    FaceStudioPipeline.from_pretrained("mini")
    assert seen == [True]


def noting(call, seen):
    """`call`, which notes whether the collector is on."""

    def noted(*args, **given):
        seen.append(gc.isenabled())
        return call(*args, **given)

    return noted
