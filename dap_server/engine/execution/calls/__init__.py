"""Where a program calls a model: the one seam at which its calls become runs of a stepper."""
