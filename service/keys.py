"""API keys: a file of their hashes, written by ``saddle keys`` and read again by services when it changes.

A key is ``saddle_<id>_<secret>``, the secret 256 random bits. A secret that cannot be guessed needs no slow hash:
bcrypt and its like make up for passwords that can, and would cost every request a tenth of a second. So the file holds
a SHA-256, which tells whoever reads it nothing to get in with.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from service.scopes import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PREFIX = "saddle"
_SECRET_BYTES = 32
_LOOK_SECONDS = 1.0
_WRITABLE_BY_OTHERS = 0o022
_NOBODY = "0" * 64

log = structlog.get_logger()


class KeysError(ValueError):
    """A file of keys that cannot be used, or a key that cannot be made or revoked."""


class Key(BaseModel):
    """What is kept of one key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=_ID.pattern + "$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole key, in hexadecimal."""
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    rate: Annotated[float | None, Field(gt=0)] = None
    """Requests a second; None for as many as there is room for."""
    burst: Annotated[int, Field(ge=1)] = 1
    """How many requests may come at once before the rate counts."""

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Whether it opens anything at ``now``."""
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()


def read(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        KeysError: it is not there, not a file of keys, or others than its owner may write to it.
    """
    try:
        mode = path.stat().st_mode
        if mode & _WRITABLE_BY_OTHERS:
            raise KeysError(f"{path} has the mode {mode & 0o777:o}, so others than its owner may write keys: chmod 600")
        found = _File.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}; `saddle keys create` makes it") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise KeysError(f"{path} is no file of keys: {place}: {first['msg']}") from error
    ids = [key.id for key in found]
    if len({*ids}) < len(ids):
        raise KeysError(f"{path} has {len(ids)} keys, but only {len({*ids})} different ids")
    return found


def create(
    path: Path,
    key_id: str,
    *,
    scopes: Iterable[Scope],
    expires: datetime | None = None,
    rate: float | None = None,
    burst: int | None = None,
) -> str:
    """Add a key to the file, which is made if it is not there; return the secret, which nobody sees again.

    Raises:
        KeysError: the id is taken or not a sane one, or the file cannot be used.
    """
    if not _ID.fullmatch(key_id):
        raise KeysError(f"the id {key_id!r} should be 1 to 32 of a-z, 0-9 and -, and not begin with -")
    token = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    try:
        key = Key(
            id=key_id,
            sha256=_digest(token),
            scopes=frozenset(scopes),
            created=datetime.now(UTC),
            expires=expires,
            rate=rate,
            burst=burst or max(1, round(rate or 1)),
        )
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise KeysError(f"{first['loc'][0]}: {first['msg']}") from error
    with _locked(path):
        have = read(path) if path.exists() else ()
        if any(one.id == key_id for one in have):
            raise KeysError(f"{path} has a key {key_id!r} already; ids are not used again, so that logs stay true")
        _write(path, (*have, key))
    return token


def revoke(path: Path, key_id: str) -> None:
    """Let a key open nothing from now on; services see it within a second.

    Raises:
        KeysError: there is no such key, or the file cannot be used.
    """
    with _locked(path):
        have = read(path)
        if not any(one.id == key_id for one in have):
            raise KeysError(f"{path} has no key {key_id!r}; it has: {', '.join(one.id for one in have) or 'none'}")
        now = datetime.now(UTC)
        closed = [one.model_copy(update={"revoked": one.revoked or now}) if one.id == key_id else one for one in have]
        _write(path, closed)


class KeyRing:
    """The keys of a file, which is looked at again every second.

    If it is gone or broken by then, the keys that were there go on being valid, and the log says so: a slip of an
    editor should not close the shop.

    Raises:
        KeysError: the file cannot be used at first.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._look_at = clock() + _LOOK_SECONDS
        self._stamp = _stamp(path)
        self._keys = {key.id: key for key in read(path)}

    def find(self, token: str) -> Key | None:
        """The key that ``token`` is, if it is valid now."""
        if self._clock() >= self._look_at:
            self._look()
        prefix, _, rest = token.partition("_")
        key = self._keys.get(rest.partition("_")[0])
        # compared also where there is no such key, so that the time does not tell which ids there are
        same = hmac.compare_digest(_digest(token), _NOBODY if key is None else key.sha256)
        if key is None or not same or prefix != _PREFIX or key.state(datetime.now(UTC)) != "valid":
            return None
        return key

    def _look(self) -> None:
        self._look_at = self._clock() + _LOOK_SECONDS
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = {key.id: key for key in read(self._path)}
        except KeysError as error:
            log.error("keys not read", reason=str(error), still_valid=len(self._keys))  # noqa: TRY400 - no trace needed
        else:
            log.info("keys read", keys=len(self._keys))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _write(path: Path, keys: Iterable[Key]) -> None:
    """Replace the file in one step; a new file has the mode 0600 from its first moment."""
    text = _File(keys=tuple(keys)).model_dump_json(indent=2, exclude_none=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".keys-", delete=False, encoding="utf-8") as beside:
        try:
            beside.write(text + "\n")
            beside.flush()
            os.fsync(beside.fileno())
            Path(beside.name).replace(path)
        except BaseException:
            Path(beside.name).unlink()
            raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else changes the file in the meantime."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
