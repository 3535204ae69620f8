"""What is worked out about a run: attention, and what else is no value of the model itself. Knows no DAP."""
