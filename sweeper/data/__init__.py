"""Images: which data sets exist, reading them, splitting them, augmenting them."""
