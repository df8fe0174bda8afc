"""What a running service can be told, by environment variables that begin with ``SADDLE_``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from index.device import Device
from service.guard import is_loopback

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")


class Settings(BaseSettings):
    """The service's settings: arguments first, then the environment, then the defaults below."""

    model_config = SettingsConfigDict(env_prefix="SADDLE_", frozen=True)

    index: Path
    """The index root, which holds ``CURRENT`` and the snapshots: what ``saddle reindex --out`` wrote."""
    keys: Path | None = None
    """A file of API keys, which ``saddle keys`` writes; with it, every caller has to show one."""
    allow_public: bool = False
    """Let ``host`` be reachable from other machines without keys, behind a gateway that asks callers who they are."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer on the one port; they share the snapshot's files in memory."""
    # Reads workers, so that field stands before it.
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default_factory=lambda given: _threads(given.get("workers", 1))
    )
    """How many batches of searches each worker computes at once; by default, all together one for each core."""
    cache_hits: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000
    """How many hits each worker keeps to answer the same searches again, about 2 kB each; 0 for none."""
    device: str = "cpu"
    """Where points lie and encoders run: ``cpu``, ``cuda`` or ``cuda:N``; see :meth:`index.device.Device.parse`."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may call from a browser, such as ``https://shop.example``; in the environment with commas."""
    deadline_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """How long a search may take whose caller does not say (``X-Request-Timeout-Ms``)."""
    body_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How long a request's body may take to arrive."""
    latency_target_seconds: Annotated[float, Field(gt=0)] = 0.1
    """When more searches come than can be answered, so many are let in that half are answered within this time."""
    reload_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How often ``CURRENT`` is read to see whether a new snapshot was published."""
    drain_seconds: Annotated[float, Field(ge=0)] = 1.0
    """How long to go on answering after SIGTERM while ``/readyz`` says 503, so that balancers send no more."""
    shutdown_seconds: Annotated[int, Field(ge=0)] = 20
    """How long requests in flight may take to finish after that."""
    probes_per_minute: Annotated[float, Field(ge=0, le=600)] = 6.0
    """How many searches are run again exactly, on average and in each process, to measure recall; 0 for none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        Device.parse(device)
        return device

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _splits_at_commas(cls, origins: object) -> object:
        return [part.strip() for part in origins.split(",") if part.strip()] if isinstance(origins, str) else origins

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise PydanticCustomError(
                    "origin",
                    "{origin} is not an origin such as https://shop.example or http://localhost:3000",
                    {"origin": repr(origin)},
                )
        return origins

    # Reads keys and allow_public, so those fields stand before host.
    @field_validator("host")
    @classmethod
    def _stays_on_this_machine(cls, host: str, info: ValidationInfo) -> str:
        if is_loopback(host) or info.data.get("keys") is not None or info.data.get("allow_public", False):
            return host
        raise PydanticCustomError(
            "public_host",
            "{host} is not this machine alone, and callers are not asked who they are: bind to 127.0.0.1, make "
            "keys with `saddle keys create` and name their file in SADDLE_KEYS, or set SADDLE_ALLOW_PUBLIC=true if "
            "your gateway asks",
            {"host": repr(host)},
        )


def _threads(workers: int) -> int:
    return max(1, min(8, len(os.sched_getaffinity(0)) // workers))
