"""What a running service can be told, by environment variables that begin with ``SADDLE_``."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from index.device import Device


class Settings(BaseSettings):
    """The service's settings: arguments first, then the environment, then the defaults below."""

    model_config = SettingsConfigDict(env_prefix="SADDLE_", frozen=True)

    index: Path
    """The index root, which holds ``CURRENT`` and the snapshots: what ``saddle reindex --out`` wrote."""
    allow_public: bool = False
    """Let ``host`` be reachable from other machines. Callers are not asked who they are: use a gateway."""
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
    reload_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How often ``CURRENT`` is read to see whether a new snapshot was published."""
    shutdown_seconds: Annotated[int, Field(ge=0)] = 20
    """How long requests in flight may take to finish after SIGTERM."""
    probes_per_minute: Annotated[float, Field(ge=0, le=600)] = 6.0
    """How many searches are run again exactly, on average and in each process, to measure recall; 0 for none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        Device.parse(device)
        return device

    # Reads allow_public, so that field stands before host.
    @field_validator("host")
    @classmethod
    def _stays_on_this_machine(cls, host: str, info: ValidationInfo) -> str:
        if _is_loopback(host) or info.data.get("allow_public", False):
            return host
        raise PydanticCustomError(
            "public_host",
            "{host} is not this machine alone, and callers are not asked who they are: bind to 127.0.0.1, or "
            "set SADDLE_ALLOW_PUBLIC=true and put the service behind your gateway",
            {"host": repr(host)},
        )


def _threads(workers: int) -> int:
    return max(1, min(8, len(os.sched_getaffinity(0)) // workers))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
