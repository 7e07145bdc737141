"""The doctor: looks for what most often keeps a mill from running, and says how to mend it."""
