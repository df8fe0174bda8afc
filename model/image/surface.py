"""Where the points of pictures lie: on the unit sphere, or on the hyperbolic sheet.

Both are told apart by numbers alone. The sphere is flat space (c = 0) with every vector one long, where the squared
distance of two points is 2 − 2·cosine; the sheet is the Lorentz model of :mod:`model.lorentz`, with radii softly
bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model import lorentz

if TYPE_CHECKING:
    from typing import Self

    from model.lorentz import Array


class Surface(BaseModel):
    """A surface of ``dim`` coordinates; on the sphere a point is its unit vector, on the sheet its space components."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sphere", "sheet"] = "sphere"
    dim: Annotated[int, Field(ge=2)] = 128
    curvature: Annotated[float, Field(ge=0)] = 0.0
    """c of the curvature −c: 0 on the sphere, whose points are compared in flat space, above 0 on the sheet."""
    radius: Annotated[float, Field(gt=0)] = 1.0
    """Distance of every point from the origin, or the bound of it on the sheet."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.kind == "sheet") != (self.curvature > 0):
            raise ValueError(f"a {self.kind} cannot have curvature {self.curvature:g}: only a sheet has one above 0")
        return self

    def place(self, vectors: Array) -> Array:
        """Any vectors (..., d) → points (..., d)."""
        if self.kind == "sphere":
            return lorentz.at_radius(vectors, self.radius)
        return lorentz.exp_map0(lorentz.bound(vectors, limit=self.radius), c=self.curvature)

    def squares(self, x: Array, y: Array) -> Array:
        """Squared distances of all points ``x`` (N, d) to all ``y`` (M, d) → (N, M), by a matrix product."""
        return lorentz.pairwise_dist(x, y, c=self.curvature) ** 2

    def means(self, points: Array, weights: Array) -> Array:
        """Means of ``points`` (N, d) under each row of ``weights`` (K, N) ≥ 0, on the surface again → (K, d)."""
        middle = lorentz.midpoint(points, weights, c=self.curvature)
        return self.place(middle) if self.kind == "sphere" else middle
