"""Train, test and compare few-shot learners."""

__version__ = "0.5.0"
