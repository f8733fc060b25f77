"""The settings of the appliance's own Redis, as far as it serves other appliances."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from appliance.settings import redis_url

_PASSWORD = re.compile(r"[A-Za-z0-9._~-]{16,}")  # what may stand in a URL as it is: RFC 3986, section 2.3


class RedisSettings(BaseSettings):
    """Where the appliance's own Redis listens beside its unix socket, and who may use it."""

    redis_listen: str | None = Field(
        None,
        description="Address and port, like 10.0.0.5:6379, at which other appliances reach this appliance's own Redis. "
        "They set REDIS_URL=redis://:PASSWORD@10.0.0.5:6379. Default: others cannot reach it.",
    )
    redis_password: SecretStr | None = Field(
        None,
        description="Password of the appliance's own Redis, at least 16 characters. Required if REDIS_LISTEN is not "
        "loopback.",
    )
    redis_tls_cert: Path | None = Field(
        None,
        description="Certificate of REDIS_LISTEN, a PEM file. Its URL is then rediss://. Read when Redis starts. "
        "Default: no TLS.",
    )
    redis_tls_key: Path | None = Field(None, description="Key of REDIS_TLS_CERT, a PEM file without a password.")

    @field_validator("redis_listen")
    @classmethod
    def _usable_address(cls, value: str | None) -> str | None:
        if value:
            redis_url.split_address(value)
        return value

    @field_validator("redis_password")
    @classmethod
    def _usable_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _PASSWORD.fullmatch(value.get_secret_value()):
            raise ValueError("must be at least 16 characters of A-Z, a-z, 0-9 and -._~, because it is part of URLs")
        return value

    @field_validator("redis_tls_cert", "redis_tls_key", mode="after")
    @classmethod
    def _absolute_file(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()
