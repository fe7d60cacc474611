"""Where the maps of people stand on a canvas."""

import torch

from facestudio.guidance.face_map import lay_out


def halves(height=4, width=8):
    masks = torch.zeros(2, height, width)
    masks[0, :, : width // 2], masks[1, :, width // 2 :] = 1, 1
    return masks


def test_one_person_fills_a_square_canvas_exactly():
    maps = torch.randn(1, 3, 4, 4)
    assert torch.equal(lay_out(maps, None, (4, 4)), maps)


def test_two_people_stand_side_by_side_as_in_training():
    maps = torch.randn(2, 3, 4, 4)
    assert torch.equal(lay_out(maps, halves(), (4, 8))[0], torch.cat(list(maps), dim=-1))


def test_on_a_wide_canvas_one_person_stands_in_the_middle():
    placed = lay_out(torch.ones(1, 1, 4, 4), None, (4, 10))[0, 0]
    assert placed[:, 3:7].eq(1).all()
    assert placed.sum() == 16


def test_a_map_is_scaled_to_its_region():
    masks = torch.zeros(1, 8, 8)
    masks[0, 2:8, 1:7] = 1
    placed = lay_out(torch.full((1, 2, 4, 4), 3.0), masks, (8, 8))[0]
    torch.testing.assert_close(placed, 3.0 * masks.expand(2, -1, -1))


def test_nothing_reaches_out_of_a_region():
    round_mask = torch.ones(1, 4, 4)
    round_mask[0, 0, 0] = 0
    placed = lay_out(torch.ones(1, 1, 4, 4), round_mask, (4, 4))
    assert placed[0, 0, 0, 0] == 0
    assert placed.sum() == 15


def test_a_region_lost_to_others_holds_nobody():
    masks = halves()
    masks[1] = 0
    placed = lay_out(torch.ones(2, 1, 4, 4), masks, (4, 8))
    assert placed[..., :4].eq(1).all()
    assert not placed[..., 4:].any()
