"""Images in memory: which sets there are, how they are split, how they are changed on the way to the network."""
