"""The command line, one module per command. A command line without a command goes to Hydra."""
