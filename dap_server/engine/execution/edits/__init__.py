"""What somebody changes while a model runs: data that every run of a step applies."""
