"""Configurations of other programs, read and written as ours, with a list of what was not carried over."""
