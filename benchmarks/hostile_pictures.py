"""The whole corpus of hostile pictures through the loader: what came of each, and the memory.

    python -m benchmarks.hostile_pictures [--page] [--number 1000] [--write FOLDER]

from the root of the checkout. `--page` gives each to every field of the page that takes pictures,
as an upload. `--write` keeps the files, to be sent to a page or a server.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from facestudio.errors import PictureError
from facestudio.images import decode_picture
from tests.hostile_pictures import HostilePicture, make_hostile_pictures


def main() -> None:
    """Read all of them, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/hostile_pictures.json"))
    words = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow warns of much that it can read all the same
    corpus = list(make_hostile_pictures(words.number))
    if words.write is not None:
        write_all(corpus, words.write)
    if words.page:
        with TemporaryDirectory() as folder:
            result = judge(corpus, give_to_page(Path(folder)))
    else:
        result = judge(corpus, read)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


def write_all(corpus: Iterable[HostilePicture], folder: Path) -> None:
    """The files, numbered; names that lead elsewhere are flattened."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, hostile in enumerate(corpus):
        (folder / f"{number:04}-{Path(hostile.name).name}").write_bytes(hostile.data)


def judge(corpus: list[HostilePicture], read: Callable[[HostilePicture], str]) -> dict[str, Any]:
    """How many became what; growth of memory is of a second reading over the first."""
    answers: Counter[str] = Counter()
    slowest = (0.0, "")
    start_mb = memory_mb()
    for hostile in corpus:
        started = time.perf_counter()
        answers[read(hostile)] += 1
        slowest = max(slowest, (time.perf_counter() - started, hostile.name))
    once_mb = memory_mb()
    for hostile in corpus:
        read(hostile)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "pictures": len(corpus),
        "answers": dict(answers),
        "memory_mb": {"start": start_mb, "once": once_mb, "twice": memory_mb(), "peak": peak_mb},
        "slowest": {"seconds": round(slowest[0], 3), "name": slowest[1]},
    }


def read(hostile: HostilePicture) -> str:
    """The error's code, "picture", or the name of what should not have come out."""
    try:
        decode_picture(hostile.data, hostile.name)
    except PictureError as error:
        return error.code
    except Exception as problem:  # counted, to be looked at
        return f"crash: {type(problem).__name__}"
    return "picture"


def give_to_page(folder: Path) -> Callable[[HostilePicture], str]:
    """What uploads a picture to the fields of the page over mini, and says what each shows."""
    from facestudio import FaceStudioPipeline
    from facestudio.web.giving import Giving
    from facestudio.web.people import People
    from facestudio.web.session import YOU, Session
    from facestudio.web.studio import Studio

    pipe = FaceStudioPipeline.from_pretrained("mini")
    giving, people, session = Giving(pipe, folder), People(Studio(pipe)), Session()
    fields = {
        "photo-you": lambda path: giving.take_photo(session, YOU, path),
        "style": lambda path: giving.take_style(session, path),
        "start": lambda path: giving.take_start(session, path),
        "scene": lambda path: people.take_scene(session, path, folder, []),
    }

    def give(hostile: HostilePicture) -> str:
        path = folder / Path(hostile.name).name
        answers = []
        for field, take in fields.items():
            path.write_bytes(hostile.data)
            try:
                told = take(str(path))[f"problem:{field}"]
            except Exception as problem:  # counted, to be looked at
                return f"crash: {type(problem).__name__}"
            answers.append(f"{field}: {'problem in words' if told else 'shown'}")
        if any(folder.iterdir()):
            return "left on disk"
        return ", ".join(answers)

    return give


def memory_mb() -> float:
    """What this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


if __name__ == "__main__":
    main()
