"""The command line, one file per command; whatever names no command goes to Hydra."""
