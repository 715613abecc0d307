"""Reports: pure functions from a run's material to text, Markdown, JUnit and JSON.

The run and every later reader draw the material from the journal with `gather`, so a report rebuilt from the journal
is byte for byte the report that the run wrote.
"""

from scenarios.report.document import render_json
from scenarios.report.junit import render_junit
from scenarios.report.markdown import render_markdown
from scenarios.report.material import Example, Material, gather
from scenarios.report.text import render_text

__all__ = ["Example", "Material", "gather", "render_json", "render_junit", "render_markdown", "render_text"]
