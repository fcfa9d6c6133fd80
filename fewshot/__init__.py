"""Train, test and compare few-shot learners."""

__version__ = "0.3.0"
