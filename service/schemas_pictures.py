"""The words of ``/v1/search/image``: a picture, and what else to look for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, field_validator

from service.schemas import Limit, Offset, QueryParam, Syntax, inside_window
from service.schemas_refinement import Fields, FilterParam


class PictureBody(BaseModel):
    """A picture as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Annotated[Base64Bytes, Field(description="The picture's file, in Base64.")]


class PictureParams(BaseModel):
    """What else to look for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    syntax: Syntax = "plain"
    q: QueryParam | None = None
    limit: Limit = 10
    offset: Offset = 0
    filter: FilterParam = None
    fields: Fields | None = None

    _check_window = field_validator("offset")(inside_window)
