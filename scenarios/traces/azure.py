"""Azure LLM inference traces: TIMESTAMP, ContextTokens, GeneratedTokens; the stamps of 2023 and of 2024.

Azure/AzurePublicDataset, CC-BY 4.0; Patel et al., Splitwise (ISCA 2024), Stojkovic et al., DynamoLLM (HPCA 2025).
"""

from __future__ import annotations

from scenarios.traces.columns import Columns
from scenarios.traces.stamps import stamps_ns
from scenarios.traces.table import Table

COLUMNS = ("timestamp", "contexttokens", "generatedtokens")


def add_rows(table: Table, columns: Columns) -> None:
    """A piece of the file. Raises TraceError for a row with a broken stamp or count."""
    at_ns, good = stamps_ns(table.lines, *table.field("timestamp"))
    table.refuse("timestamp", good, "is no stamp", "write it like 2024-05-12 00:00:10.5+00:00")
    columns.add(at_ns, table.counts("contexttokens"), table.counts("generatedtokens"))
