"""Requests that somebody wrote down: files of prompts and conversations."""

from scenarios.dataset.read import Dataset, read_dataset
from scenarios.dataset.row import DatasetRow, Message

__all__ = ["Dataset", "DatasetRow", "Message", "read_dataset"]
