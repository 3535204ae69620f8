"""What edits did: to the next token, to the residual stream, to a whole branch; and what they would do everywhere."""
