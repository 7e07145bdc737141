"""The event store and the results: layout, reading, publishing."""
