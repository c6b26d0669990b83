"""The OpenAPI document: the live options come from their table, the rest is written here."""

from __future__ import annotations

from typing import Any

from .. import __version__
from ..control.actions import ACTIONS, Action
from ..control.live_values import LIVE_VALUES, offered
from ..control.state import Control
from ..option import Option
from ..tile_size import EVEN_TILE
from .photos.guest_folder import STATES
from .photos.limits import MAX_PHOTO
from .photos.routes import FIELD, GUEST_HEADER, MAX_LISTED, ORDERS
from .viewfinder import MAX_WIDTH, MIN_WIDTH

CHANGES_HEADER = "Livemosaic-Changes"

_COLOUR = "^#[0-9a-fA-F]{6}$"


def option_schema(control: Control, known: Option) -> dict[str, Any]:
    """The JSON schema of a live option."""
    schema: dict[str, Any] = {"description": known.help, "x-group": known.group}
    if known.low is not None:
        schema["minimum"] = float(known.low) if known.kind.json == "number" else int(known.low)
    if known.high is not None:
        schema["maximum"] = float(known.high) if known.kind.json == "number" else int(known.high)
    choices = list(offered(control, known.name))
    if known.name == "outside":
        schema |= {"type": "string", "anyOf": [{"enum": choices}, {"pattern": _COLOUR}]}
    elif choices:
        schema["enum"] = choices
    elif known.kind.pattern:
        schema |= {"type": [known.kind.json, "string"], "pattern": known.kind.pattern}
        if known.kind is EVEN_TILE:
            schema["multipleOf"] = 2
    else:
        schema["type"] = known.kind.json
    return schema


def openapi(control: Control) -> dict[str, Any]:
    """The document that describes all requests."""
    options = {name: option_schema(control, known) for name, known in LIVE_VALUES.items()}
    settings = {"$ref": "#/components/schemas/Settings"}
    jpeg = {"200": {"description": "a picture", "content": {"image/jpeg": {}}}}
    width = {
        "name": "width",
        "in": "query",
        "description": "at most so many pixels wide; without it, as wide as the picture",
        "schema": {"type": "integer", "minimum": MIN_WIDTH, "maximum": MAX_WIDTH},
    }
    paths: dict[str, Any] = {
        "/api/settings": {
            "get": _operation("the value of each live option", _json(settings)),
            "patch": {
                **_operation("change live options, all at once or none", _json(settings)),
                "requestBody": {"required": True, "content": _json(settings)},
            },
        },
        "/api/stats": {
            "get": _operation(
                "statistics of the last seconds", _json({"$ref": "#/components/schemas/Statistics"})
            )
        },
        **{f"/api/actions/{name}": {"post": _action(name, its)} for name, its in ACTIONS.items()},
        "/snapshot.jpg": {
            "get": {**_operation("the newest picture", {}), "parameters": [width]},
        },
        "/stream.mjpg": {
            "get": {**_operation("all pictures, as Motion JPEG", {}), "parameters": [width]},
        },
        **_photo_paths(),
    }
    if control.guests_url:
        code = {"200": {"description": "a QR code", "content": {"image/svg+xml": {}}}}
        get = _operation("the QR code of the address at which guests upload photos", {})
        paths["/guests.svg"] = {"get": {**get, "responses": get["responses"] | code}}
    paths["/snapshot.jpg"]["get"]["responses"] |= {
        **jpeg,
        "503": {"description": "there is no picture yet"},
    }
    paths["/stream.mjpg"]["get"]["responses"] |= {
        "200": {"description": "pictures", "content": {"multipart/x-mixed-replace": {}}},
        "503": {"description": "there are too many streams"},
    }
    number, whole, text = ({"type": name} for name in ("number", "integer", "string"))
    count = {"schema": whole, "description": "how many changes the values include, at least"}
    for operation in paths["/api/settings"].values():
        operation["responses"]["200"]["headers"] = {CHANGES_HEADER: count}
    numbers = {"type": "object", "additionalProperties": number}
    codec = {"type": ["string", "null"], "description": "the video encoder"}
    output = {"name": text, "state": text, "frames": whole, "dropped": whole, "codec": codec}
    spotlight = _object({"done": whole, "shown": whole, "waiting": whole})
    gallery = _object({"photos": whole, "added": whole, "removed": whole, "changes": whole})
    statistics = {
        "input": text,
        "input_status": {**text, "description": "empty while there is a picture"},
        "fps_in": number,
        "fps_out": number,
        "latency_ms": numbers,
        "dropped": whole,
        "active_share": number,
        "split_share": number,
        "gallery": {**gallery, "type": ["object", "null"]},
        "spotlight": {**spotlight, "type": ["object", "null"]},
        "stages_ms": numbers,
        "governor": _object({"step": text, "share": number}),
        "recording": {**text, "description": "its file; empty when there is none"},
        "waiting": {**whole, "description": "photos of guests that wait for approval"},
        "outputs": {"type": "array", "items": _object(output)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "livemosaic",
            "version": __version__,
            "description": "Changes a run of livemosaic while it goes on.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Settings": {
                    "type": "object",
                    "properties": options,
                    "additionalProperties": False,
                },
                "Statistics": _object(statistics),
                "Error": _object({"error": text}),
                **_photo_schemas(),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
        "security": [{"bearer": []}, {"query": []}],
    }


def _photo_paths() -> dict[str, Any]:
    """The requests about photos, of guests and of watched folders."""
    photo, decision = ({"$ref": f"#/components/schemas/{name}"} for name in ("Photo", "Decision"))
    photos = {"type": "array", "items": photo}
    answers = {"type": "array", "items": {"$ref": "#/components/schemas/UploadAnswer"}}
    states = {"type": "array", "items": {"enum": list(STATES)}}
    state = {"name": "state", "in": "query", "description": "one or several", "schema": states}
    order = {"name": "order", "in": "query", "schema": {"enum": list(ORDERS)}}
    most = {"type": "integer", "minimum": 1, "maximum": MAX_LISTED}
    limit = {"name": "limit", "in": "query", "description": "the first ones", "schema": most}
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    guest = {
        "name": GUEST_HEADER,
        "in": "header",
        "description": "an id of the guest, for the limits of each",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
    }
    files = {
        "type": "array",
        "items": {"type": "string", "format": "binary", "maxLength": MAX_PHOTO},
    }
    form = {"multipart/form-data": {"schema": _object({FIELD.decode(): files})}}
    approved = _object({"approved": {"type": "integer"}})
    picture: dict[str, Any] = {"image/jpeg": {}}
    return {
        "/api/photos": {
            "get": {
                **_operation("photos of guests and of watched folders", _json(photos)),
                "parameters": [state, order, limit],
            },
            "post": {
                **_operation("send photos as a guest; an answer for each", _json(answers)),
                "parameters": [guest],
                "requestBody": {"required": True, "content": form},
            },
        },
        "/api/photos/approve-all": {
            "post": _operation("let all photos that wait join", _json(approved))
        },
        "/api/photos/{id}": {
            "get": {
                **_operation(
                    "one photo, and where it is",
                    _json({"$ref": "#/components/schemas/PlacedPhoto"}),
                ),
                "parameters": [id],
            }
        },
        "/api/photos/{id}/picture": {
            "get": {**_operation("a small picture of a photo", picture), "parameters": [id]}
        },
        "/api/photos/{id}/approve": {
            "post": {**_operation("let a photo join", _json(decision)), "parameters": [id]}
        },
        "/api/photos/{id}/reject": {
            "post": {
                **_operation("delete a guest's photo, or a snap", _json(decision)),
                "parameters": [id],
            }
        },
    }


def _photo_schemas() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    place = _object(dict.fromkeys(("x", "y", "width", "height"), share))
    decision = {"id": text, "state": {"enum": list(STATES)}}
    photo = {
        **decision,
        "name": {
            **text,
            "description": "of its file; of a guest's photo, nothing of the guest's; empty for a "
            "snap without a file",
        },
        "added_s": {**number, "description": "seconds since 1970"},
        "guest": {"type": "boolean", "description": "a guest sent it"},
        "snap": {"type": "boolean", "description": "it was taken of those before the camera"},
    }
    places = {
        "type": "array",
        "items": place,
        "description": "where it is in the picture now, in fractions of it",
    }
    accepted = _object(decision)
    duplicate = {"const": True, "description": "it was sent before"}
    accepted["properties"] = {**decision, "duplicate": duplicate}
    return {
        "Photo": _object(photo),
        "PlacedPhoto": _object({**photo, "places": places}),
        "Decision": _object(decision),
        "UploadAnswer": {"oneOf": [accepted, _object({"error": text})]},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _action(name: str, action: Action) -> dict[str, Any]:
    """Switches answer with their new state; what happens later is accepted."""
    answer = _json(_object({action.switches or name: {"type": "boolean"}}))
    return _operation(action.help, answer, status="200" if action.switches else "202")


def _operation(summary: str, content: dict[str, Any], *, status: str = "200") -> dict[str, Any]:
    problem = _json({"$ref": "#/components/schemas/Error"})
    error = {"description": "refused, and why", "content": problem}
    return {
        "summary": summary,
        "responses": {status: {"description": summary, "content": content}, "4XX": error},
    }
