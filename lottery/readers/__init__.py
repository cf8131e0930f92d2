"""Reading data sets from disk into uint8 arrays."""
