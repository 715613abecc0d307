"""Everything the engine can raise.

EngineError
├── ConfigError        a setting is wrong; names the field and the fix
├── ModelError         the model file cannot be loaded or used
├── DecodeError        llama.cpp failed while running
├── ConstraintError    a grammar, schema or regular expression cannot be used; becomes a 400
├── StartError         the engine did not become ready; carries the end of its log
└── RequestError       one request cannot be served; becomes an HTTP answer in OpenAI's error shape
    ├── BadRequest         400, 401, 404, 405, 408, 413, 415, 431
    ├── ContextExceeded    400 context_length_exceeded
    ├── Overloaded         429 with Retry-After
    └── Unavailable        503 with Retry-After
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error the engine raises on purpose."""


class ConfigError(EngineError):
    """A setting is wrong.

    >>> raise ConfigError("port", "70000 is not a port", "use 0 (a free one) to 65535")
    """

    def __init__(self, field: str, what: str, fix: str) -> None:
        super().__init__(f"{field}: {what}; {fix}")
        self.field = field
        self.what = what
        self.fix = fix


class ModelError(EngineError):
    """The model file cannot be loaded, or lacks something that serving needs."""


class DecodeError(EngineError):
    """llama.cpp answered with a code that ends the requests in its batch."""


class ConstraintError(EngineError):
    """The language that a request asks its answer to be in is wrong, empty, unsupported or too large."""


class StartError(EngineError):
    """The engine did not become ready. `log_tail` holds the last lines of its log."""

    def __init__(self, what: str, fix: str, log_tail: str = "") -> None:
        tail = f"\nThe end of its log:\n{log_tail}" if log_tail else ""
        super().__init__(f"{what}. {fix}{tail}")
        self.what = what
        self.fix = fix
        self.log_tail = log_tail


class RequestError(EngineError):
    """One request cannot be served; `status`, `type` and `code` are OpenAI's."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class BadRequest(RequestError):
    """The request itself is at fault."""


class ContextExceeded(RequestError):
    """The prompt alone does not fit into the context of one sequence."""

    def __init__(self, limit_tokens: int, measured: str) -> None:
        super().__init__(
            400,
            f"This model's context is {limit_tokens} tokens, and the prompt alone has {measured}. Shorten the prompt.",
            param="messages",
            code="context_length_exceeded",
        )


class Overloaded(RequestError):
    """There is no place for this request now; `why` is one sentence that says which bound is reached."""

    def __init__(self, why: str, retry_after_s: int, code: str = "queue_full") -> None:
        super().__init__(
            429, f"{why} Try again in {retry_after_s} s.", type="overloaded", code=code, retry_after_s=retry_after_s
        )


class Unavailable(RequestError):
    """The engine cannot answer now: starting, restarting, stalled or shutting down."""

    def __init__(self, why: str, code: str, retry_after_s: int = 1) -> None:
        super().__init__(503, why, type="service_unavailable", code=code, retry_after_s=retry_after_s)
