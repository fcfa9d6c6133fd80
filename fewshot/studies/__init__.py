"""Whole studies: they train, test and report."""
