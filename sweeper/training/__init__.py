"""From a network and images to a stream of epochs."""
