"""The explorer in the browser: its page, its server, and what it writes."""
