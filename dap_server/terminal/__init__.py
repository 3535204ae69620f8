"""A debug client for the terminal, and for the tests. Speaks DAP and knows nothing of what is behind it."""
