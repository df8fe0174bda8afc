"""The words of the HTTP interface for products that are stored and deleted."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from service.schemas_answer import ProductBody

_Sequence = Annotated[
    int, Field(description="The number of the last change. Searches see it from now on; numbers only grow.")
]
_TookMs = Annotated[float, Field(description="Milliseconds from reading the request to the changes being shown.")]
_RequestId = Annotated[str, Field(description="The X-Request-ID of this request, yours or a new one.")]


class ProductResponse(BaseModel):
    """A product as it is by now."""

    product: ProductBody
    request_id: _RequestId


class ChangeResponse(BaseModel):
    """A change that is on disk and seen by searches."""

    product_id: str
    sequence: _Sequence
    took_ms: _TookMs
    request_id: _RequestId


class RejectedLine(BaseModel):
    """A line that was not stored."""

    line: Annotated[int, Field(description="Its number in the body, from 1.")]
    product_id: Annotated[str | None, Field(description="Its id, where it could be read.")]
    reason: Annotated[str, Field(examples=["empty title"])]


class BulkResponse(BaseModel):
    """What became of the lines; the changes are on disk and seen by searches."""

    stored: int
    deleted: int
    rejected: list[RejectedLine]
    sequence: Annotated[int | None, Field(description="The number of the last change, null if there was none.")]
    took_ms: _TookMs
    request_id: _RequestId


class SnapshotBody(BaseModel):
    """One snapshot of the index root."""

    id: str
    created: Annotated[str, Field(description="When it was published, ISO 8601 in UTC.")]
    model: str
    products: int
    bytes: Annotated[int, Field(description="Size of its files, the encoder's not counted.")]
    current: Annotated[bool, Field(description="Whether services should answer from it.")]


class SnapshotsResponse(BaseModel):
    """The snapshots that there are, the newest first."""

    snapshots: list[SnapshotBody]
    serving: Annotated[str | None, Field(description="The snapshot that this process answers from.")]
    request_id: _RequestId


class ActivatedResponse(BaseModel):
    """The snapshot that is current from now on, and answered from."""

    snapshot: str
    request_id: _RequestId
