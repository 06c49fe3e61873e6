"""The error tree. Each class says whose mistake it is; `fault` is the value that travels and is rendered to the caller.

BatchwayError
├── SettingsError             a setting is wrong: names it, its value and what is allowed (stops the start)
├── InputError                a file given to a command cannot be used: names it, the line and the field
└── Refusal                   a request cannot be served; carries a Fault
    ├── Yours                 the caller's to mend (4xx)
    │   ├── BadRequest        400  a field is wrong: names it
    │   ├── Unauthorized      401  no key, or not one of ours
    │   ├── Forbidden         403  the key, the Host or the origin may not do this
    │   ├── NotFound          404  no such route, model or id
    │   ├── MethodNotAllowed  405
    │   ├── TooSlow           408  the body did not arrive in time
    │   ├── Conflict          409  the same request_id with another body
    │   ├── Cancelled         409  its owner cancelled the request
    │   ├── Swept             410  its answer was kept as long as it was to be kept
    │   ├── TooLarge          413  the body is over the bound
    │   └── TooMany           429  the queue is full: come back after Retry-After
    ├── Theirs                the provider's (502, 503, 504, or its own status passed through)
    │   ├── UpstreamRefused   the provider answered with an error status
    │   │   └── KeyRefused        for the gateway's own key, which is not the caller's to mend
    │   ├── Unreachable       502  no connection was made: nothing was sent, nothing is billed
    │   ├── UpstreamTimeout   504  sent, no answer in time: the provider may still bill it
    │   ├── UpstreamCut       502  the answer broke off
    │   └── UpstreamMalformed 502  the answer is not what the endpoint promises
    │       ├── UpstreamTooLarge 502  it is over the bound, whole or as a stream
    │       └── Untold        502  nothing in a packed call's answer is certain to be for this request
    └── Ours                  batchway's
        ├── NotServed         501  this gateway is not set up for it (no store, another dialect)
        ├── Unconfigured      503  the gateway has no key for the provider
        ├── NoRoom            503  the folder for temporary files is full, or not there
        ├── Stopping          503  shutting down: send it to another replica or try again
        ├── GoesOn            503  shutting down: the request is on disk and goes on without us
        ├── WaitOver          504  the caller's own ?timeout= ran out; the request goes on
        ├── DeadlinePassed    504  on_deadline=fail and the deadline came
        └── Internal          500  a defect of batchway
"""

from typing import ClassVar, Literal

from msgspec import structs

from batchway.core.types import Fault

UNAUTHORIZED = 401

KEY_CODES = frozenset({"invalid_api_key", "api_key_invalid"})
"""Codes that say the same as a 401: Google's comes with a 400 (providers.md §13.1)."""


class BatchwayError(Exception):
    """Everything batchway raises on purpose."""


class SettingsError(BatchwayError):
    """A setting has a value that cannot be used; the message names the setting, the value and what is allowed."""


class InputError(BatchwayError):
    """A file that a command was given cannot be used; the message names the file, the line and the field."""


class Refusal(BatchwayError):
    """A request cannot be served. Raise a subclass; catch this at the border and render `fault`."""

    whose: ClassVar[Literal["yours", "theirs", "ours"]]
    status: ClassVar[int]
    type: ClassVar[str]
    code: ClassVar[str | None] = None
    billed: ClassVar[Literal["no", "unknown"]] = "no"
    passing: ClassVar[bool] = False
    healthy: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = Fault(
            whose=self.whose,
            status=self.status,
            type=self.type,
            code=code or self.code,
            message=message,
            param=param,
            retry_after=retry_after,
            billed=self.billed,
            passing=self.passing,
            healthy=self.healthy,
        )


class Yours(Refusal):
    """The caller can mend it."""

    whose = "yours"
    type = "invalid_request_error"


class BadRequest(Yours):
    """A field is missing, of the wrong type or not allowed; `param` names it."""

    status = 400
    code = "invalid_value"


class Unauthorized(Yours):
    """The request carries no API key, or one that this gateway does not know."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(Yours):
    """The key's scope, the Host header or the origin does not allow this."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(Yours):
    """There is no such route, model or id (for this tenant)."""

    status = 404
    code = "not_found"


class MethodNotAllowed(Yours):
    """The route exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class UnsupportedEncoding(Yours):
    """The body came packed."""

    status = 415
    code = "unsupported_encoding"


class TooSlow(Yours):
    """The body did not arrive within the time allowed."""

    status = 408
    code = "body_timeout"


class Conflict(Yours):
    """The same request_id came before with another body."""

    status = 409
    type = "conflict_error"
    code = "request_id_conflict"


class Cancelled(Yours):
    """Its owner cancelled the request while somebody waited for it."""

    status = 409
    code = "cancelled"


class Swept(Yours):
    """The answer was given once, and is not kept any more (or never was)."""

    status = 410
    code = "answer_swept"


class TooLarge(Yours):
    """The body is larger than `max_body_bytes` (or deeper than `max_json_depth`: that is a 400)."""

    status = 413
    code = "body_too_large"


class TooMany(Yours):
    """The bounded queue is full; `retry_after` says when to come back. Nothing was sent or billed."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"
    passing = True


class Theirs(Refusal):
    """The provider failed. The text says what is known about billing."""

    whose = "theirs"
    type = "upstream_error"
    status = 502


class UpstreamRefused(Theirs):
    """The provider answered with an error status: passed through as it is."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class KeyRefused(UpstreamRefused):
    """The provider did not take the gateway's own key. Its status passes through, as any other's does; its words alone
    would have the caller look at a key that never went there."""

    code = "provider_key_refused"

    def __init__(self, fault: Fault, provider: str, setting: str) -> None:
        """`setting`: where the key is set."""
        told = structs.replace(
            fault,
            type=self.type,
            code=self.code,
            message=(
                f"'{provider}' refused the key of this gateway ({setting}), not yours: whoever runs the gateway has to "
                f"mend it. It said: {fault.message}"
            ),
            param=None,
            passing=False,
            body=None,
        )
        super().__init__(told)

    @classmethod
    def or_as_it_is(cls, fault: Fault, provider: str, setting: str | None) -> Fault:
        """The fault, said so where a provider's is about the key that it was asked with. `setting`: None where that was
        the caller's own. A 403 is not: it is about what was asked (a model, a region, words that are not allowed)."""
        told = fault.whose == "theirs" and (fault.status == UNAUTHORIZED or fault.code in KEY_CODES)
        return cls(fault, provider, setting).fault if told and setting is not None else fault


class Unreachable(Theirs):
    """No connection to the provider could be made: nothing was sent, nothing is billed, a retry is safe."""

    code = "upstream_unreachable"
    passing = True
    healthy = False


class UpstreamTimeout(Theirs):
    """The request was sent and no answer came in time: the provider may have done and may bill it."""

    status = 504
    code = "upstream_timeout"
    billed = "unknown"
    passing = True
    healthy = False


class UpstreamCut(Theirs):
    """The answer broke off before its end: it is not passed off as a short answer."""

    code = "upstream_cut"
    billed = "unknown"
    passing = True
    healthy = False


class UpstreamMalformed(Theirs):
    """The provider's answer is not what the endpoint promises (not JSON, too large, wrong shape)."""

    code = "upstream_malformed"
    billed = "unknown"


class UpstreamTooLarge(UpstreamMalformed):
    """The provider's answer is larger than `max_response_bytes`, whether it comes whole or as a stream."""

    code = "upstream_too_large"

    def __init__(self, bound: int) -> None:
        """`bound` in bytes."""
        super().__init__(
            f"The provider's answer is larger than {bound} bytes; raise max_response_bytes if that is right."
        )


class Untold(UpstreamMalformed):
    """Nothing in a packed call's answer is certain to be for this request: it is asked again singly."""

    code = "unpacked"


class Ours(Refusal):
    """batchway itself cannot do it now."""

    whose = "ours"
    type = "server_error"


class NotServed(Ours):
    """The gateway knows the route and is not set up for it: it has no store, or its provider has no such thing."""

    status = 501
    code = "not_served"


class NoRoom(Ours):
    """What is too large for memory has no room on disk; nothing was sent, and what is stored stays."""

    status = 503
    code = "no_room"
    passing = True


class Unconfigured(Ours):
    """The gateway has no key for the provider, and the caller's own may not be used in its place."""

    status = 503
    code = "provider_unconfigured"

    @classmethod
    def any_more(cls, provider: str) -> "Unconfigured":
        """For what is on disk of a time when there were other providers."""
        return cls(f"'{provider}' is not configured any more; its owner must configure it again.")


class Stopping(Ours):
    """The gateway is shutting down and takes no new work."""

    status = 503
    code = "stopping"
    passing = True


class GoesOn(Ours):
    """The gateway is shutting down, and the request is on disk and goes on without it: whoever asks anew, not by its
    id, has it done and billed twice."""

    status = 503
    code = "goes_on"
    billed = "unknown"


class WaitOver(Ours):
    """The caller's own `?timeout=` ran out. The request goes on; the same request again gets its answer."""

    status = 504
    code = "wait_over"
    passing = True


class DeadlinePassed(Ours):
    """The request's deadline came before its answer, and `on_deadline=fail` was asked for."""

    status = 504
    code = "deadline_passed"


class Internal(Ours):
    """A defect of batchway: please report it with the request id."""

    status = 500
    code = "internal_error"


WITHHELD = "Its message is not kept."
"""Stands for the message of a fault whose words are kept nowhere, or not any longer (record, retention)."""


def wordless(fault: Fault) -> Fault:
    """The fault without what it says: providers quote what they were asked."""
    return structs.replace(fault, message=WITHHELD, body=None)
