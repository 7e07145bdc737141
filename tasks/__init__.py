"""One step of the mill per file."""
