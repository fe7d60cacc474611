"""Whatever is sent as a picture, the server answers with a picture or a clear refusal."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests.hostile_pictures import make_hostile_pictures
from tests.server.conftest import ask

NUMBER = 320  # the whole corpus, against a server of its own: python -m benchmarks.hostile_server
EACH = 4
REFUSED = {"not_a_picture": 422, "too_large": 413}


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it can read all the same
@pytest.mark.parametrize("use", ["faces", "identity", "style"])
def test_each_is_drawn_or_refused(caller, use):
    answers: Counter[str] = Counter()
    for number, hostile in enumerate(make_hostile_pictures(NUMBER)):
        if number % EACH != ("faces", "identity", "style").index(use):
            continue
        picture = (f"{number}-{PurePosixPath(hostile.name).name}", hostile.data)
        if use == "faces":
            answer = caller.post("/v1/faces", files=[("pictures", picture)])
        else:
            asked = {use: picture[0], "prompt": "a hat", "num_inference_steps": 1}
            answer = ask(caller, asked, [picture], wait=True)
        code = answer.json()["error"]["code"] if answer.is_error else "drawn"
        assert answer.status_code == REFUSED.get(code, 200 if code == "drawn" else 422), hostile
        answers[code] += 1
    assert answers["drawn"] + answers["face_too_small"] > 5
    assert answers["not_a_picture"] > 5
    assert set(answers) <= {"drawn", "face_too_small", *REFUSED}
    assert caller.get("/health").status_code == 200
