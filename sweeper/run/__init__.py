"""One experiment: how it runs, the files it leaves, who observes it, and whether it can be reproduced."""
