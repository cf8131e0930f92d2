"""The command line: flags, their checks, and how a script ends."""
