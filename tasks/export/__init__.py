"""Export: results and events in the formats of other programs."""
