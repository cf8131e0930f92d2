"""The library behind the scripts; docs/architecture.md has its layers."""
