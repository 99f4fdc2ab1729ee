"""One experiment: the only wiring, every file it leaves, who watches it, and whether it comes out again."""
