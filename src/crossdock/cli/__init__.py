"""The command line: one file per command; each parses, calls, and prints."""

from crossdock.cli.main import main as main
