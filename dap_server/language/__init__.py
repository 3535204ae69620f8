"""The language server of model maps: the only package that imports pygls. Imports no model and no torch."""
