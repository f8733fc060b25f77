"""The settings of the endpoint: where it is, who is let in, and how much."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from appliance.models import Browser
from appliance.settings.networks import Networks, split
from appliance.settings.timings import Seconds

_TOKEN_MIN = 16  # characters
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1; all of these may stand in a URL, too


class EndpointSettings(BaseSettings):
    """What clients meet."""

    host: str = Field(
        "127.0.0.1",
        description="Address that the proxy listens on. On loopback, root and the account that runs the appliance need "
        "no token, other accounts do. On other addresses everybody does.",
    )
    port: int = Field(8080, ge=1, le=65535, description="Port that the proxy listens on.")
    appliance_token: SecretStr | None = Field(
        None,
        description="First token of the grid, called appliance; the same on all its appliances. A changed one "
        "replaces it. With it everybody needs a token, on loopback too. `applctl token create` makes further ones.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Let in clients without a token, on every address and from every account, even if the grid has "
        "tokens.",
    )
    tls_cert: Path | None = Field(
        None,
        description="Certificate of the endpoint with its chain, a PEM file, which makes it wss://. Read anew when "
        "it changes. Default: no TLS.",
    )
    tls_key: Path | None = Field(None, description="Key of TLS_CERT, a PEM file without a password.")
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="Addresses and networks of load balancers, separated by commas, whose X-Forwarded-For tells the "
        "clients' addresses. Default: none.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Further names under which /metrics and /api are shown, separated by commas; * for any. Always: "
        "addresses, names of one label like localhost, and this machine's.",
    )
    request_timeout: Seconds = Field(15, description="Seconds from the connect in which a request must be complete.")
    max_connections_per_client: int = Field(
        0,
        ge=0,
        description="Sessions, waiting or running, of one client address at this appliance; the next gets 429. "
        "0: no limit but the slots and the queue, as hundreds may well come from one machine.",
    )
    default_browser_type: Browser = Field(
        Browser.CHROMIUM,
        description="Browser of a session whose client names none: chromium, firefox or webkit.",
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
            raise ValueError(f"must be at least {_TOKEN_MIN} characters, which may be A-Z, a-z, 0-9 and -._~+/=")
        return value

    @field_validator("tls_cert", "tls_key", mode="after")
    @classmethod
    def _absolute_file(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @property
    def endpoint(self) -> str:
        """The address that clients connect to, as this machine sees it."""
        is_here = self.host in ("0.0.0.0", "::", "127.0.0.1")  # noqa: S104
        return self.endpoint_at("localhost" if is_here else self.host)

    def endpoint_at(self, host: str) -> str:
        """Return the URL of the endpoint at a name or address of this machine."""
        host = f"[{host}]" if ":" in host else host
        return f"{'wss' if self.tls_cert else 'ws'}://{host}:{self.port}"
