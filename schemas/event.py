"""What every event shares: frozen, finite, tolerant of fields it does not know."""

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A frozen value; unknown fields are ignored, numbers are finite, nothing is coerced silently."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, strict=True, protected_namespaces=()
    )

    def to_json(self) -> bytes:
        """Return the canonical JSON record of this value, UTF-8."""
        return self.model_dump_json().encode()
