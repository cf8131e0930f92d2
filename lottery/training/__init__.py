"""One network trained under a mask, evaluated and saved."""
