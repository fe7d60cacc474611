"""Whether `identity add` warns rightly that photos show two people; JSON and a table.

    python -m benchmarks.strangers lfw_eval.tar.gz … [--model mini] [--half tune] [--limit 100]

Every pair of photos of one person is a false alarm where its similarity is under the threshold;
every pair of two people is missed where it is not. Choose the threshold by the half "tune", give
figures by the half "report". A change of the identity encoder asks for it anew:
`STRANGERS` in identities/profile.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from facestudio.errors import PictureError
from facestudio.evaluation.people import Person, decode, read_people
from facestudio.faces.align import align_face
from facestudio.faces.detect import DlibDetector, find_face
from facestudio.faces.embed import IdentityEncoder, encoder_id
from facestudio.faces.load import load_identity_encoder
from facestudio.identities.profile import STRANGERS
from facestudio.pipeline.load import find_model

OUT = Path("benchmarks/out/strangers.json")
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("people", type=Path, nargs="+", help="what `facestudio evaluate` reads")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--half", choices=("tune", "report", "all"), default="tune")
    parser.add_argument("--limit", type=int, default=100, help="people of each set")
    words = parser.parse_args()
    encoder, detector = load_identity_encoder(find_model(words.model)), DlibDetector()
    result: dict[str, Any] = {"encoder": encoder_id(encoder), "half": words.half}
    for path in words.people:
        people = read_people(path, words.half, words.limit)
        vectors = [embed(person, encoder, detector) for person in people]
        result[path.name.partition(".")[0]] = judge(vectors, encoder)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))


def embed(person: Person, encoder: IdentityEncoder, detector: DlibDetector) -> np.ndarray:
    """The embeddings (n, dim) of those of their photos in which a face is found."""
    crops = []
    for photo in person.photos:
        picture = decode(photo)
        try:
            crops.append(align_face(picture, find_face(picture, detector, largest=True).eyes))
        except PictureError:
            continue
    return encoder.embed(np.stack(crops)) if crops else np.zeros((0, encoder.dimension))


def judge(people: Sequence[np.ndarray], encoder: IdentityEncoder) -> dict[str, Any]:
    """Shares of false alarms and misses at each threshold, and where the two kinds of pairs lie."""
    compare = encoder.calibration.similarity  # type: ignore[union-attr]
    same = np.array([compare(a, b) for one in people for a, b in combinations(one, 2)])
    firsts = np.stack([one[0] for one in people if len(one)])
    others = compare(firsts[:, None], firsts[None])[np.triu_indices(len(firsts), 1)]
    rates = {
        str(threshold): {
            "false_alarms": round(float(np.mean(same < threshold)), 4),
            "missed": round(float(np.mean(others >= threshold)), 4),
        }
        for threshold in sorted({*THRESHOLDS, STRANGERS})
    }
    return {
        "people": len(firsts),
        "pairs": {"one person": len(same), "two people": len(others)},
        "similarity": {"one person": spread(same), "two people": spread(others)},
        "at": rates,
    }


def spread(values: np.ndarray) -> dict[str, float]:
    """Mean, and the 5th and 95th of a hundred."""
    low, high = np.percentile(values, (5, 95))
    return {"mean": round(float(values.mean()), 3), "5 %": round(low, 3), "95 %": round(high, 3)}


if __name__ == "__main__":
    main()
