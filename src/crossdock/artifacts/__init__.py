"""Bytes at rest: implementations of the ``Artifacts`` port."""
