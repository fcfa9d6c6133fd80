"""Train, test and compare few-shot learners."""

__version__ = "0.4.0"
