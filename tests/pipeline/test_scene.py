"""The call's pictures: framing, hiding faces, placing people."""

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.errors import BadRegion, MissingFile
from facestudio.faces.detect import find_faces
from facestudio.images import cover
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import (
    Framed,
    frame_picture,
    frame_portrait,
    frame_portraits,
    hide_faces,
    read_scene,
    to_output,
    to_pictures,
    to_pixels,
)

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def read(request, detector):
    return read_scene(request, detector, (8, 8), 1.0)


def make_request(people=(None,), **options):
    return Request(people=people, height=32, width=32, **options)


@pytest.mark.parametrize(
    ("size", "framed"),
    [
        ((32, 32), (64, 32)),
        ((640, 640), (640, 320)),
        ((20, 10), (64, 32)),
        ((4000, 4000), (1024, 512)),
    ],
)
def test_frames_have_the_aspect_asked_for_and_what_size_there_is(picture, size, framed):
    assert frame_picture(picture(0, *size), height=32, width=64).size == framed


def test_a_frame_of_the_same_size_is_the_picture(picture):
    image = picture(1)
    np.testing.assert_array_equal(np.asarray(frame_picture(image, 32, 32)), np.asarray(image))


def test_every_face_is_hidden(picture, seeing):
    image = picture(1, 64, 64)
    hidden = np.asarray(hide_faces(Framed(image), seeing(0.25, 0.75), 1.0))
    assert (hidden[34, 16] == 127).all()
    assert (hidden[34, 48] == 127).all()
    np.testing.assert_array_equal(hidden[2], np.asarray(image)[2])


def test_a_picture_without_faces_is_used_whole(picture, seeing):
    image = picture(1, 64, 64)
    assert hide_faces(Framed(image), seeing(), 1.0) is image


def test_faces_that_are_known_are_not_looked_for_again(picture, seeing):
    nobody, image = seeing(), picture(1, 64, 64)
    eyes = np.array([[28.0, 28.0], [36.0, 28.0]])
    hidden = np.asarray(hide_faces(Framed(image, (eyes,)), nobody, 1.0))
    assert (hidden[32, 32] == 127).all()
    assert not nobody.seen


def test_a_portrait_knows_where_its_faces_are(astronaut, detector):
    framed = frame_portrait(astronaut, detector, 64)
    np.testing.assert_allclose(framed.eyes[0], [[48, 60.8], [80, 60.8]], atol=1e-3)
    found = find_faces(framed.image, detector)[0].eyes
    np.testing.assert_allclose(found, framed.eyes[0], atol=3)


def test_the_style_is_hidden_and_the_canvas_is_not(picture, seeing):
    scene = read(make_request(style=picture(1)), seeing(0.5))
    np.testing.assert_array_equal(np.asarray(scene.canvas), np.asarray(picture(1)))
    assert not np.array_equal(np.asarray(scene.style), np.asarray(picture(1)))
    np.testing.assert_array_equal(np.asarray(scene.shown), np.asarray(picture(1)))
    assert scene.masks is None


def test_the_image_is_the_canvas_where_there_is_one(picture, seeing):
    scene = read(make_request(style=picture(1), image=picture(2)), seeing())
    np.testing.assert_array_equal(np.asarray(scene.canvas), np.asarray(picture(2)))
    np.testing.assert_array_equal(np.asarray(scene.style), np.asarray(picture(1)))


def test_words_alone_have_no_pictures(seeing):
    scene = read(make_request(prompt="a hat"), seeing(0.5))
    assert (scene.style, scene.canvas, scene.regions, scene.masks) == (None, None, None, None)
    assert scene.shown is None


def test_people_are_found_in_the_style_picture(picture, seeing):
    scene = read(make_request((None, None), style=picture(1)), seeing(0.75, 0.25))
    assert len(scene.regions) == 2
    assert scene.regions[0].box[2] <= 0.5 <= scene.regions[1].box[0]
    assert scene.masks.shape == (2, 8, 8)
    assert not scene.masks[0, :, 4:].any()


@pytest.mark.parametrize("prompt", [None, "a hat"])
def test_with_too_few_faces_to_follow_people_stand_side_by_side(picture, seeing, prompt):
    style = None if prompt else picture(1)
    scene = read(make_request((None, None), style=style, prompt=prompt), seeing(0.5))
    assert [region.box for region in scene.regions] == [LEFT, RIGHT]


def test_too_few_faces_in_a_picture_that_stays_are_refused(picture, seeing):
    for options in ({"image": picture(1)}, {"style": picture(1), "background": "fixed"}):
        with pytest.raises(BadRegion, match="1 faces found in the picture; 2 people"):
            read(make_request((None, None), **options), seeing(0.5))


@pytest.mark.parametrize("kind", ["boxes", "masks", "lists", "text"])
def test_regions_are_boxes_masks_or_what_settings_held(seeing, kind):
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[0, :, :4], masks[1, :, 4:] = 1, 1
    regions = {
        "boxes": (LEFT, RIGHT),
        "masks": tuple(masks),
        "lists": tuple(masks.tolist()),
        "text": ("0,0,.5,1", ".5,0,1,1"),
    }[kind]
    scene = read(make_request((None, None), prompt="a hat", regions=regions), seeing())
    np.testing.assert_array_equal(scene.masks, masks)


@pytest.mark.parametrize("box", [(0, 0, 1.2, 1), (0.5, 0, 0.5, 1), (0, 0, 1), "left"])
def test_boxes_that_are_none_are_refused(seeing, box):
    with pytest.raises(BadRegion):
        read(make_request(prompt="a hat", regions=(box,)), seeing())


def test_a_missing_picture_is_named(seeing):
    with pytest.raises(MissingFile, match=r"nowhere\.png"):
        read(make_request(style="nowhere.png"), seeing())


def test_pixels_and_pictures_are_the_same_thing(picture):
    pixels = to_pixels(picture(1))
    assert pixels.shape == (1, 3, 32, 32)
    assert pixels.abs().max() <= 1
    np.testing.assert_array_equal(np.asarray(to_pictures(pixels)[0]), np.asarray(picture(1)))


def test_pixels_out_of_range_are_clipped():
    (image,) = to_pictures(torch.full((1, 3, 2, 2), 4.0))
    assert (np.asarray(image) == 255).all()


def test_output_types(picture):
    pixels = to_pixels(picture(1))
    pictures = to_pictures(pixels)
    assert to_output(pixels, pictures, "pil") == pictures
    assert to_output(pixels, pictures, "np").shape == (1, 32, 32, 3)
    pt = to_output(pixels, pictures, "pt")
    assert pt.shape == (1, 3, 32, 32)
    torch.testing.assert_close(pt * 2 - 1, pixels)


def test_portrait_models_see_style_pictures_framed_around_the_face(astronaut, detector):
    request = make_request(style=astronaut)
    whole = read_scene(request, detector, (8, 8), 1.0, portrait=False)
    framed = read_scene(request, detector, (8, 8), 1.0, portrait=True)
    assert frame_portrait(astronaut, detector, 32).image.size == (64, 64)
    assert framed.style.size == whole.style.size == (32, 32)
    grey = [(np.asarray(scene.style) == 127).all(-1).mean() for scene in (whole, framed)]
    assert grey[1] > 2 * grey[0]  # the hidden face fills more of the frame


def test_portrait_models_take_pictures_without_a_face_whole(picture, detector):
    image = picture(1)
    scene = read_scene(make_request(style=image), detector, (8, 8), 1.0, portrait=True)
    np.testing.assert_array_equal(np.asarray(scene.style), np.asarray(image))
    assert frame_portrait(image, detector, 32) is None


def test_canvases_of_several_people_keep_their_frame(astronaut, detector):
    request = make_request((None, None), style=astronaut, regions=(LEFT, RIGHT))
    scenes = [read_scene(request, detector, (8, 8), 1.0, portrait=p) for p in (False, True)]
    np.testing.assert_array_equal(*[np.asarray(scene.style) for scene in scenes])


def test_several_people_in_squares_start_from_portraits_side_by_side(astronaut, detector):
    couple = Image.new("RGB", (1024, 512))
    couple.paste(astronaut, (0, 0))
    couple.paste(astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    given = {"image": couple, "regions": (LEFT, RIGHT), "height": 32, "width": 64}
    request = Request(people=(None, None), **given)
    canvas = read_scene(request, detector, (8, 16), 1.0, portrait=True).canvas
    whole = read_scene(request, detector, (8, 16), 1.0, portrait=False).canvas
    assert canvas.size == whole.size == (64, 32)
    (face,) = find_faces(canvas.crop((0, 0, 32, 32)).resize((512, 512)), detector)
    assert face.width > 512 / 3
    np.testing.assert_array_equal(np.asarray(whole), np.asarray(cover(couple, 64, 32)))
    assert frame_portraits(astronaut, detector, 32, 2) is None


def test_a_style_may_be_an_array(picture, seeing):
    array = np.asarray(picture(1))
    scenes = [read(make_request(style=style), seeing()) for style in (picture(1), array)]
    for name in ("style", "shown", "canvas"):
        one, two = (np.asarray(getattr(scene, name)) for scene in scenes)
        np.testing.assert_array_equal(one, two)
