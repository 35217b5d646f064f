"""What a server allows. No torch here: option parsing reads this."""

from typing import Annotated

import tyro
from pydantic import Field

from ownlm.config import Config

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Addresses and names that only this machine reaches."""


class ServeConfig(Config):
    """Where a server listens, who may ask, and how much."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0: every one of this machine, which takes an API key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port; 0: any that is free."""
    api_key: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Key that requests must bear, may be given several times; better as OWNLM_API_KEY in the
    environment, which other users of the machine do not see."""
    open: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Serve other machines without a key."""
    allowed_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Further name under which browsers reach this server; may be given several times."""
    cors_origin: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Origin whose pages may ask, such as https://my.site; may be given several times."""
    max_body_bytes: int = Field(default=4 << 20, ge=1 << 10)
    """Bytes of a request at most."""
    max_header_bytes: int = Field(default=16 << 10, ge=1 << 10)
    """Bytes of a request's headers at most."""
    max_headers: int = Field(default=100, ge=10)
    """Headers of a request at most."""
    max_waiting: int = Field(default=256, ge=0)
    """Texts that may wait until one of those being written is done; more are refused."""
    max_schema_bytes: int = Field(default=64 << 10, ge=1 << 10, le=64 << 10)
    """Bytes of a JSON schema, regular expression or grammar at most."""
    header_seconds: float = Field(default=10.0, gt=0)
    """Seconds in which the headers of a request must come."""
    body_seconds: float = Field(default=60.0, gt=0)
    """Seconds in which its body must come."""
    stall_seconds: float = Field(default=30.0, gt=0)
    """Seconds that a client may leave an answer unread."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """Seconds that running requests have when the server is told to end."""
    metrics_prefix: str = Field(default="ownlm", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    """First part of the metrics' names; `vllm` suits dashboards made for vLLM."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host.strip("[]") in LOOPBACK or self.host.startswith("127.")
