"""The settings of the endpoint: where it is, who is let in, and how much."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance.names import Browser
from appliance.settings.networks import Networks, is_loopback, split
from appliance.settings.timings import Seconds

_TOKEN_MIN = 16  # characters
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1; all of these may stand in a URL, too


class EndpointSettings(BaseSettings):
    """What clients meet."""

    host: str = Field(
        "127.0.0.1",
        description="Address that the proxy listens on. On loopback, root and the account that runs the appliance need "
        "no token; other accounts do. On other addresses every client needs one.",
    )
    port: int = Field(8080, ge=1, le=65535, description="Port that the proxy listens on.")
    appliance_token: SecretStr | None = Field(
        None,
        description="First token of the grid, named `appliance`; the same on all its appliances. A new value "
        "replaces it. With it every client needs a token, on loopback too. `applctl token create` creates more.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Accept clients without a token, on every address and from every account, even if the grid has "
        "tokens.",
    )
    tls_cert: Path | None = Field(
        None,
        description="Certificate of the endpoint with its chain, a PEM file. The endpoint is then wss://. Read again "
        "when it changes. Default: no TLS.",
    )
    tls_key: Path | None = Field(None, description="Key of TLS_CERT, a PEM file without a password.")
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="Addresses and networks of load balancers, separated by commas. Their X-Forwarded-For header is "
        "trusted for clients' addresses. Default: none.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="More host names under which /metrics, /api and /dashboard are served, separated by commas; * for "
        "any. Addresses, names without a dot, like localhost, and this machine's names are always allowed.",
    )
    request_timeout: Seconds = Field(
        15, description="Seconds that a client has, from the connect, to send its request."
    )
    max_connections_per_client: int = Field(
        0,
        ge=0,
        description="Sessions, waiting or running, that one client address may have at this appliance; the next one "
        "gets 429. Clients that come back to a kept session are counted by themselves. 0: no limit.",
    )
    default_browser_type: Browser = Field(
        Browser.CHROMIUM,
        description="Browser of sessions that name none: chromium, firefox or webkit.",
    )

    live_view: Literal["own", "all", "off"] | None = Field(
        None,
        description="Whose browsers the dashboard may show: own, of the sessions with isolation=browser; all, also "
        "those in shared browsers; or off. Only admins and the session's own token may look. Default: all where HOST "
        "is loopback, else own.",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return split(value)

    @field_validator("appliance_token")
    @classmethod
    def _usable_token(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if value and (len(text) < _TOKEN_MIN or not _TOKEN.fullmatch(text)):
            raise ValueError(f"must be at least {_TOKEN_MIN} characters of A-Z, a-z, 0-9 and -._~+/=")
        return value

    @field_validator("tls_cert", "tls_key", mode="after")
    @classmethod
    def _absolute_file(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @property
    def requires_token(self) -> bool:
        """Whether others reach HOST, so that the grid must have a token before the proxy listens."""
        return not (self.allow_anonymous or is_loopback(self.host))

    @property
    def shown_browsers(self) -> str:
        """What LIVE_VIEW says, or its default."""
        return self.live_view or ("all" if is_loopback(self.host) else "own")

    @property
    def endpoint(self) -> str:
        """The address that clients connect to, as this machine sees it."""
        is_here = self.host in ("0.0.0.0", "::", "127.0.0.1")  # noqa: S104
        return self.endpoint_at("localhost" if is_here else self.host)

    @property
    def dashboard(self) -> str:
        """The address of the dashboard, as this machine sees it."""
        return f"http{self.endpoint.removeprefix('ws')}/dashboard"

    def endpoint_at(self, host: str) -> str:
        """Return the URL of the endpoint at a name or address of this machine."""
        host = f"[{host}]" if ":" in host else host
        return f"{'wss' if self.tls_cert else 'ws'}://{host}:{self.port}"
