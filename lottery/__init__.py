"""The library behind the scripts; docs/architecture.md has its layers."""

__version__ = "0.1.0.dev0"  # the release, in this place alone
