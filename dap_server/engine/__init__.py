"""What lives inside the process that runs the model. The only package that imports torch."""
