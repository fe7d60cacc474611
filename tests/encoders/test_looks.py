"""The look of a style picture: where styles are pulled to, and what of them stays."""

import pytest
import torch

from facestudio.encoders.looks import LookReader, tell_colours

LOOKS = (("photo", ("photo",)), ("paint", ("oil", "pastel")))
STYLE_DIM = 6


@pytest.fixture
def reader() -> LookReader:
    """A reader that takes dark pictures for photos and light ones for paintings."""
    torch.manual_seed(0)
    reader = LookReader(LOOKS, STYLE_DIM, pull=0.5).eval()
    reader.means.copy_(torch.eye(2, STYLE_DIM) * 4)
    return reader


def certain(reader: LookReader, monkeypatch, *shares: float) -> None:
    """Have the reader see these shares of photo, paint and neither in every picture."""
    scores = torch.tensor(shares).clamp_min(1e-12).log()
    monkeypatch.setattr(reader, "forward", lambda pixels: scores.expand(len(pixels), -1))


def test_a_style_goes_part_of_the_way_to_its_look(reader, monkeypatch):
    certain(reader, monkeypatch, 0, 1, 0)
    style, pixels = torch.randn(3, STYLE_DIM), torch.zeros(3, 3, 128, 128)
    settled = reader.settle(style, pixels)
    torch.testing.assert_close(settled, (style + reader.means[1]) / 2)
    reader.pull = 0.0
    torch.testing.assert_close(reader.settle(style, pixels), style)


def test_what_has_none_of_the_looks_stays(reader, monkeypatch):
    certain(reader, monkeypatch, 0, 0, 1)
    style = torch.randn(3, STYLE_DIM)
    torch.testing.assert_close(reader.settle(style, torch.zeros(3, 3, 128, 128)), style)
    certain(reader, monkeypatch, 0.5, 0, 0.5)
    settled = reader.settle(style, torch.zeros(3, 3, 128, 128))
    torch.testing.assert_close(settled, style + 0.25 * (reader.means[0] - style))


def test_colours_stay_the_pictures_own(reader, monkeypatch):
    """Styles whose third number is how light a picture is."""
    torch.manual_seed(1)
    light = torch.rand(300, 1, 1, 1)
    style = torch.cat([torch.randn(300, 2), light[:, :, 0, 0], torch.randn(300, 3)], dim=1)
    reader.means[:, 2] = 5
    certain(reader, monkeypatch, 0, 1, 0)
    pixels = light.expand(-1, 3, 16, 16)
    reader.colours.copy_(torch.zeros_like(reader.colours))
    moved = reader.settle(style, pixels) - style
    assert moved[:, 2].abs().mean() > 1
    one = LookReader(LOOKS, STYLE_DIM, n_colours=1)
    monkeypatch.setattr(
        "facestudio.encoders.looks.tell_colours", lambda p: p.mean((1, 2, 3))[:, None]
    )
    one.fit_colours(style, pixels, penalty=1e-3)
    assert one.colours[2].abs() > 0.99
    one.means.copy_(reader.means)
    certain(one, monkeypatch, 0, 1, 0)
    moved = one.settle(style, pixels) - style
    assert moved[:, 2].abs().max() < 0.05
    assert moved[:, 0].abs().mean() > 0.3


def test_means_are_those_of_the_looks(reader):
    style, look = torch.randn(40, STYLE_DIM), torch.tensor([0, 1, 2, 1] * 10)
    reader.fit_means(style, look)
    torch.testing.assert_close(reader.means[0], style[::4].mean(0))
    torch.testing.assert_close(reader.means[1], style[1::2].mean(0))


def test_pictures_of_any_size_are_seen_at_one(reader, monkeypatch):
    sizes = []
    look = reader.forward
    monkeypatch.setattr(reader, "forward", lambda p: sizes.append(tuple(p.shape[2:])) or look(p))
    for height, width in ((128, 128), (256, 512), (64, 64)):
        reader.settle(torch.zeros(1, STYLE_DIM), torch.zeros(1, 3, height, width))
    assert sizes == [(128, 128), (128, 256), (128, 128)]


def test_half_styles_stay_half(reader):
    style = torch.zeros(1, STYLE_DIM, dtype=torch.bfloat16)
    assert reader.settle(style, torch.zeros(1, 3, 128, 128)).dtype == torch.bfloat16


def test_a_reader_comes_back_from_its_folder(reader, tmp_path):
    reader.save_pretrained(tmp_path)
    again = LookReader.from_pretrained(tmp_path)
    assert again.words_of == reader.words_of
    style, pixels = torch.randn(2, STYLE_DIM), torch.randn(2, 3, 128, 128)
    torch.testing.assert_close(again.settle(style, pixels), reader.settle(style, pixels))


def test_colours_are_those_of_quarters_and_how_they_vary():
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[:, 0, :4, :4] = 1
    told = tell_colours(pixels)
    assert told.shape == (1, 15)
    assert told[0, 0] == 1
    assert told[0, 1:12].abs().sum() == 0
    assert told[0, 12] > 0.4 > told[0, 13:].abs().sum()
