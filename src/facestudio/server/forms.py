"""The bodies that routes read by hand, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from facestudio.server.schemas import Generate, NewIdentity, Strict

SCHEMAS: tuple[type[Strict], ...] = (Generate, NewIdentity)
FILE = {"type": "string", "format": "binary"}
REF = "#/components/schemas/{model}"


def form_body(kind: type[Strict], *, also_json: bool = False, pictures: int = 0) -> dict[str, Any]:
    """A route's extra: a form of `settings` (JSON) and `pictures`, or the settings as JSON.

    pictures: how many are needed at least.
    """
    settings = {"$ref": REF.format(model=kind.__name__)}
    files = {"type": "array", "items": FILE, "minItems": pictures}
    form = {
        "schema": {
            "type": "object",
            "properties": {"settings": settings, "pictures": files},
            "required": ["settings", *(["pictures"] if pictures else [])],
            "additionalProperties": False,
        },
        "encoding": {"settings": {"contentType": "application/json"}},
    }
    content: dict[str, Any] = {"multipart/form-data": form}
    if also_json:
        extra: Any = kind.model_config.get("json_schema_extra")
        examples: list[Any] = extra["examples"]
        named = {f"example {n}": {"value": value} for n, value in enumerate(examples, 1)}
        content["application/json"] = {"schema": settings, "examples": named}
    return {"requestBody": {"required": True, "content": content}}


def picture_body() -> dict[str, Any]:
    """A route's extra: a form with one picture."""
    schema = {
        "type": "object",
        "properties": {"pictures": {"type": "array", "items": FILE, "minItems": 1, "maxItems": 1}},
        "required": ["pictures"],
        "additionalProperties": False,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def describe_bodies(app: FastAPI) -> None:
    """Let the app's OpenAPI document hold the schemas that only hand-read bodies use."""
    made_by_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made_by_fastapi()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for kind in SCHEMAS:
                schema = kind.model_json_schema(ref_template=REF)
                schemas |= schema.pop("$defs", {})
                schemas[kind.__name__] = schema
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
