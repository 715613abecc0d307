"""A request's JSON body to a struct, and what is wrong with it as a BadRequest that names the field."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from engine.errors import BadRequest

T = TypeVar("T")
_PATH = re.compile(r" - at `(?:key` in `)?\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The decoded body. Raises BadRequest when it is no JSON, or not of the decoder's shape."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        at, missing = _PATH.search(text), _MISSING.search(text)
        where = [at.group(1).removesuffix("[...]")] if at else []
        param = ".".join([*where, missing.group(1)] if missing else where)
        raise BadRequest(400, text.replace("$.", "")[:500], param=param or None, code="invalid_type") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(400, f"The body is not valid JSON: {str(error)[:300]}", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest(400, "The body is nested too deeply.", code="invalid_json") from error
