"""What schemathesis changes in the requests it has thought of, so that some reach the drawing.

By chance alone nearly every job names pictures that were not sent, and every person is unknown.
"""

from __future__ import annotations

from typing import Any

import schemathesis

PERSON = "anna"  # saved before the first request
NEEDS_NOTHING = ("prompt", "negative_prompt", "seed", "guidance_scale", "timeout_s")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Every second job of words alone."""
    if context.operation.label != "POST /v1/generate" or not isinstance(body, dict):
        return body
    if "settings" in body or len(str(body)) % 2:
        return body
    kept = {name: body[name] for name in NEEDS_NOTHING if name in body}
    return {"prompt": "a painting of a person", "num_inference_steps": 1} | kept


@schemathesis.hook
def map_path_parameters(context: Any, parameters: Any) -> Any:
    """Every second question about somebody who is known; she is never removed."""
    if not isinstance(parameters, dict) or "name" not in parameters:
        return parameters
    if context.operation.method.upper() == "DELETE":
        return parameters | {"name": "nobody"} if parameters["name"] == PERSON else parameters
    return parameters if len(str(parameters)) % 2 else parameters | {"name": PERSON}
