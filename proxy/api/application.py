"""The API as a WSGI application: admission, what a request may contain, and the OpenAPI document.

A request is held to the document: a query parameter or a body that the document does not list is refused. So what is
written there is all that can be asked, and nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.models.security_scheme import SecurityScheme
from flask_openapi3.openapi import OpenAPI

from appliance import __version__
from appliance.grid.grid import Grid
from appliance.request_errors import BadRequest
from appliance.settings.config import Settings
from proxy.access import QUERY_PARAMETER
from proxy.api import appliances, events, queue, sessions, tokens, workers
from proxy.api.asked import GRID, JSON, PREFIX, SETTINGS
from proxy.api.errors import as_response, refuse_invalid
from proxy.api.models import Error
from proxy.api.pressure import Gauge
from proxy.api.queries import LABEL, Strict
from proxy.api.streams import Streams
from proxy.pages import ADMIT, StartResponse
from proxy.query import check_labels, labels

_BLUEPRINTS = (sessions.api, workers.api, appliances.api, queue.api, events.api, tokens.api)
_SECURITY: dict[str, SecurityScheme | dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "query": {"type": "apiKey", "in": "query", "name": QUERY_PARAMETER},
}
_ABOUT = """The REST API of the grid.

A client's token sees and ends only its own sessions; an admin's token (`applctl token create NAME --admin`) everything.
Times are Unix milliseconds of the grid's clock. Further parameters, `label.KEY=VALUE`, filter sessions by their labels.
"""


class Api:
    """The API of one proxy."""

    def __init__(self, grid: Grid, settings: Settings) -> None:
        """Set what it shows and changes."""
        self._streams = Streams(grid)
        self.flask = _application({GRID: grid, SETTINGS: settings, events.STREAMS: self._streams, queue.GAUGE: Gauge()})

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Its `Host`, which is checked elsewhere, is nothing that an answer depends on."""
        environ = {name: value for name, value in environ.items() if name != "HTTP_HOST"}
        environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
        return self.flask(environ, lambda status, headers, *rest: start_response(status, [*headers, _LAST], *rest))

    def end_all(self) -> None:
        """End what is still followed: the proxy stops."""
        self._streams.end_all()


_LAST = ("Connection", "close")


def _application(shared: dict[str, Any]) -> OpenAPI:
    app = OpenAPI(
        __name__,
        info=Info(title="Playwright Appliance", version=__version__, description=_ABOUT),
        security_schemes=_SECURITY,
        validation_error_status=BadRequest.status,
        validation_error_model=Error,
        validation_error_callback=refuse_invalid,
        openapi_extensions={"security": [{name: []} for name in _SECURITY]},
        doc_ui=False,
        static_folder=None,
    )
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # no other origin's page may ask: proxy/access.py
    app.url_map.merge_slashes = False
    app.extensions |= shared
    app.before_request(_check)
    app.register_error_handler(Exception, as_response)
    for blueprint in _BLUEPRINTS:
        app.register_api(blueprint)
    described = app.api_doc
    answers = described["paths"][f"{PREFIX}/events"]["get"]["responses"]["200"]["content"]
    answers[events.EVENT_STREAM] = {"schema": {"type": "object"}}  # one of its events
    document = app.json.dumps(described).encode() + b"\n"

    @app.get(f"{PREFIX}/openapi.json", doc_ui=False)
    def show_document(query: Strict) -> Response:
        return Response(document, mimetype=JSON)

    return app


def _check() -> None:
    """Refuse a page that is not there, a request without the right to ask, and parameters that would be ignored."""
    if request.routing_exception:
        raise request.routing_exception
    g.admit = request.environ[ADMIT]
    g.principal = g.admit()
    given = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
    names = [name for name, _ in given]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BadRequest(f"The parameter {twice[:100]!r} is there twice.", "Name each parameter once.")
    takes_labels = request.path in (f"{PREFIX}/sessions", f"{PREFIX}/history")
    g.labels = labels(dict(given)) if takes_labels else {}
    check_labels(g.labels)
    rest = [(name, value) for name, value in given if name != QUERY_PARAMETER]
    if takes_labels:
        rest = [(name, value) for name, value in rest if not name.startswith(LABEL)]
    request.query_string = urlencode(rest).encode()  # of which `args` is made
