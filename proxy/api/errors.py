"""Errors of the API: every one has the form and the words of all others of this endpoint."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Response, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from appliance import logs
from appliance.request_errors import BadRequest, InternalError, MethodNotAllowed, NotFound, RequestError
from appliance.settings.sentences import sentence
from proxy.pages import error_answer

log = logs.get_logger()

_SHOWN_CHARACTERS = 100
_NO_OBJECT = ("model_type", "model_attributes_type", "dict_type", "json_invalid")


def as_response(error: Exception) -> Response:
    """Return the answer to a request that has failed."""
    status, headers, body = error_answer(_request_error(error))
    return Response(body, status, headers)


def _request_error(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RecursionError):
        return BadRequest("The request's body is nested too deeply.", "Send a flat JSON object.")
    if isinstance(error, WrongMethod):
        methods = sorted(set(error.valid_methods or ()) - {"OPTIONS"})
        return MethodNotAllowed(f"This page answers {' and '.join(methods)} only.", allow=", ".join(methods))
    if isinstance(error, HTTPException) and error.code == NotFound.status:
        return NotFound(f"There is no page {request.path[:_SHOWN_CHARACTERS]}.", "/api/v1/openapi.json lists all.")
    if isinstance(error, HTTPException) and error.code and error.code < InternalError.status:
        return BadRequest("The request cannot be understood.", "/api/v1/openapi.json describes what can be asked.")
    log.error("page.failed", path=request.path[:_SHOWN_CHARACTERS], exc_info=error)
    return InternalError("The appliance failed to answer this request.")


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Raise BadRequest in our own words; the title of what is invalid says whether it is the query or the body."""
    first: dict[str, Any] = {**error.errors(include_url=False)[0]}
    name = ".".join(map(str, first["loc"]))[:_SHOWN_CHARACTERS]
    is_body = error.title.endswith("Body")
    if is_body and first["type"] in _NO_OBJECT:
        raise BadRequest("The request's body must be a JSON object.", "Send it with Content-Type: application/json.")
    what = "field" if is_body else "parameter"
    if first["type"] == "extra_forbidden":
        raise BadRequest(f"Unknown {what} {name!r}.", "/api/v1/openapi.json describes what can be asked.")
    if first["type"] == "missing":
        raise BadRequest(f"The {what} {name!r} is missing.", "/api/v1/openapi.json describes what can be asked.")
    first["input"] = str(first["input"])[:_SHOWN_CHARACTERS]
    raise BadRequest(f"The {what} {name!r} is wrong: {sentence(first)}.", f"Correct {name!r}, or leave it out.")
