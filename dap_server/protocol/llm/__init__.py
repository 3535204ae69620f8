"""Messages beyond DAP: requests and events whose names start with `llm/`, typed like the standard ones."""
