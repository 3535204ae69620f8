"""The model as text and as places: no torch."""
