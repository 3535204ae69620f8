"""What each part of a model added to a logit."""
