"""Text that nobody wrote: for requests of which only the length and what they share is known."""

from scenarios.synthetic.text import prompt_of

__all__ = ["prompt_of"]
