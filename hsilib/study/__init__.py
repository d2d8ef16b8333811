"""Runs, how they are executed, and the store of what they gave."""
