"""One experiment: running it, its files, its listeners and its reproduction."""
