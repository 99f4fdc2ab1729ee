"""How fast this machine trains with sweeper, compared with the notebook that sweeper replaces."""
