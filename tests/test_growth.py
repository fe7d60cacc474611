"""The plot of how time grows holds every point that was measured."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.growth import HEIGHT, MARGIN, WIDTH, draw_plots

SVG = "{http://www.w3.org/2000/svg}"


def test_every_point_stands_in_its_place():
    picture = ElementTree.fromstring(draw_plots({"size": {64: 1.0, 128: 4.0}, "people": {1: 2.0}}))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"seconds by size", "seconds by people", "64", "128", "1.00", "4.00"} <= set(texts)
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in picture.iter(f"{SVG}circle")]
    assert len(places) == 3
    assert places[1] == (WIDTH - MARGIN, MARGIN)  # the most of both
    assert places[0] == (WIDTH / 2, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) / 4)
    assert places[2][0] > WIDTH  # the second plot stands beside the first
