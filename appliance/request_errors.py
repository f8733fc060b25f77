"""Every error that a client is answered with.

RequestError             carries the HTTP answer that a client gets
├─ InternalError         500
├─ BadRequest            400
│  └─ WrongClient        400
├─ Unauthorized          401
├─ ForeignOrigin         403
├─ ForeignHost           403
├─ LookRefused           403
├─ AdminsOnly            403
├─ NotFound              404
├─ MethodNotAllowed      405
├─ NotAcceptable         406
├─ RequestTimedOut       408
├─ SessionInUse          409
├─ UpgradeRequired       426
├─ BrowserNotServed      400
├─ VersionNotServed      428
├─ QueueFull             429
├─ TooManyConnections    429
├─ RequestTooLarge       431
│  └─ BodyTooLarge       413
├─ NoSlot                503
├─ NoWorker              503
├─ SessionKilled         503
├─ ShuttingDown          503
├─ Drained               503
├─ CannotDial            503
├─ SessionUnreachable    503
├─ AgentsNotServed       503
└─ StoreUnavailable      503
   ├─ ServerChanged      503
   └─ StoreRefuses       503
"""

from __future__ import annotations

from appliance.errors import ApplianceError


class RequestError(ApplianceError):
    """A request that is answered with an error; the class sets the HTTP status.

    Playwright's clients print the body of such an answer to their user, so message and hint are
    written for that person. Puppeteer prints only the reason phrase of the status line.
    """

    status: int = 500
    retry_after_s: int | None = None
    phrase: str = ""  # of the status line; by default HTTP's own


class InternalError(RequestError):
    """A fault of the appliance itself, whose cause is in the proxy's log."""

    hint = "`applctl logs proxy` on the appliance shows the cause. Please report it."


class BadRequest(RequestError):
    """The endpoint does not understand the request."""

    status = 400


class WrongClient(BadRequest):
    """The request comes from a client that speaks another protocol than that of its path."""

    phrase = "CDP clients connect to /cdp, and Playwright's connect() to /"


class Unauthorized(RequestError):
    """The request has no token, or one that the grid does not know."""

    status = 401
    hint = (
        'Connect with a token: connect(url, headers={"Authorization": "Bearer TOKEN"}), or append ?token=TOKEN to '
        "the URL. A redirect drops the Authorization header. `applctl token create NAME` on the appliance creates a "
        "token."
    )


class ForeignOrigin(RequestError):
    """A web page sent the request. Pages must not drive a grid on their visitor's network."""

    status = 403
    hint = "Connect from a Playwright client, not from a web page."


class ForeignHost(RequestError):
    """The request names a host that may be a stranger's domain."""

    status = 403


class LookRefused(RequestError):
    """The dashboard's live view does not show this session."""

    status = 403
    hint = "Sessions with isolation=browser are shown unless LIVE_VIEW=off."


class AdminsOnly(RequestError):
    """A client asks for what only an admin may do."""

    status = 403
    hint = "`applctl token create NAME --admin` makes an admin's token."


class NotFound(RequestError):
    """Nothing is served under that path."""

    status = 404


class MethodNotAllowed(RequestError):
    """The operations' pages are read-only, and /mcp takes only what MCP clients must send."""

    status = 405

    def __init__(self, message: str, hint: str = "", allow: str = "GET, HEAD") -> None:
        """Set the message, a hint, and the methods that there are."""
        super().__init__(message, hint)
        self.allow = allow


class NotAcceptable(RequestError):
    """The client does not take the kind of answer that there is."""

    status = 406


class RequestTimedOut(RequestError):
    """The request was not complete within REQUEST_TIMEOUT."""

    status = 408


class SessionInUse(RequestError):
    """The session that the client wants to reconnect to waits for its slot, for another client."""

    status = 409
    hint = "Wait until it has its slot, or use another name for `session`."


class UpgradeRequired(RequestError):
    """Somebody opened the sessions' endpoint with curl or a browser."""

    status = 426


class BrowserNotServed(RequestError):
    """No appliance of this grid is configured to run that browser."""

    status = 400


class TokenExists(RequestError):
    """A valid token has that name already."""

    status = 409
    hint = "Choose another name, or revoke that token first."


class VersionNotServed(RequestError):
    """No worker runs the client's Playwright version."""

    status = 428


class QueueFull(RequestError):
    """Every slot is taken and the waiting queue has reached its limit."""

    status = 429
    retry_after_s = 5
    hint = "Retry later, add workers, or raise QUEUE_MAX_LENGTH."


class TooManyConnections(RequestError):
    """The client already has MAX_CONNECTIONS_PER_CLIENT sessions, waiting or running."""

    status = 429
    retry_after_s = 5
    hint = "Close sessions that you do not need, or raise MAX_CONNECTIONS_PER_CLIENT."


class RequestTooLarge(RequestError):
    """The request's line and headers are too long, or there are too many of them."""

    status = 431


class BodyTooLarge(RequestTooLarge):
    """The request's body is too long."""

    status = 413


class NoSlot(RequestError):
    """No slot came free within QUEUE_TIMEOUT."""

    status = 503
    retry_after_s = 5
    hint = "Retry later, add workers, or raise QUEUE_TIMEOUT."


class NoWorker(RequestError):
    """No worker of the browser runs, so there was no slot to wait for."""

    status = 503
    retry_after_s = 5
    hint = "On the appliance, `applctl doctor` looks for the cause and `applctl logs` shows the workers' logs."


class SessionKilled(RequestError):
    """An operator ended the session while it waited for its slot."""

    status = 503
    hint = "Ask the grid's operator before you retry."


class ShuttingDown(RequestError):
    """The appliance accepts no new sessions."""

    status = 503
    retry_after_s = 5
    hint = "Retry. A load balancer sends the next attempt to another appliance."


class Drained(ShuttingDown):
    """An operator took the appliance out of service."""

    hint = "Connect to another appliance or a load balancer. `applctl appliance undrain` puts this one back in service."


class CannotDial(RequestError):
    """The proxy reaches no worker, for a reason of its own; other proxies of the grid may."""

    status = 503
    retry_after_s = 5
    hint = "Retry. A load balancer sends the next attempt to another appliance. /readyz says when this one works again."


class SessionUnreachable(RequestError):
    """The session that the client wants to reconnect to is there, and its browser is not reached."""

    status = 503
    retry_after_s = 2
    hint = "Retry, or use another name for `session`."


class AgentsNotServed(RequestError):
    """No process can be had that drives an agent's browser."""

    status = 503
    retry_after_s = 5
    hint = "Retry. On the appliance, `applctl logs mcp` shows the cause."


class StoreUnavailable(RequestError):
    """Redis does not answer."""

    status = 503
    retry_after_s = 2
    hint = "Running sessions continue. `applctl doctor` on the appliance checks REDIS_URL."


class ServerChanged(StoreUnavailable):
    """Redis is another server than before, which may know less: a failover, or a restart with older data."""


class StoreRefuses(StoreUnavailable):
    """Redis answers, but refuses the appliance or its commands. That does not pass by itself."""

    hint = "Check the user and the password in REDIS_URL, and that user's permissions."
