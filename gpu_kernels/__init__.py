"""Array in, array out: every kernel with its CPU and its GPU form."""
