"""What the scripts are made of; docs/architecture.md says what depends on what."""
