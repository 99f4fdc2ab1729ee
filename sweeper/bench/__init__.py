"""How fast this machine is at what sweeper does, beside the notebook it replaces."""
