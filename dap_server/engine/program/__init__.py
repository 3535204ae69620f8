"""The user's own program in this process: how it is run, which models it calls, where its lines stop."""
