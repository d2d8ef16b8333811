"""Benchmarks of the library, and of others beside it: ``hsilib bench`` in a checkout of the book."""
