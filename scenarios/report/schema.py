"""The JSON schema of `--json`, made from ResultDocument. `python -m scenarios.report.schema` writes it anew."""

from __future__ import annotations

from pathlib import Path

import msgspec

from scenarios.result import SCHEMA_VERSION, ResultDocument

PATH = Path(__file__).parent.parent / "schema" / "result.schema.json"


def build_schema() -> str:
    """The schema's text, as it is shipped."""
    (root,), definitions = msgspec.json.schema_components((ResultDocument,))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The result document of a Seatrial run, version {SCHEMA_VERSION}",
        **root,
        "$defs": definitions,
    }
    schema["$ref"] = schema["$ref"].replace("#/components/schemas/", "#/$defs/")
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


if __name__ == "__main__":
    PATH.write_text(build_schema(), encoding="utf-8")
