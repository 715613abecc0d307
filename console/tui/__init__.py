"""The live console: one Textual app that reads journals and writes commands. Only this package imports textual."""
