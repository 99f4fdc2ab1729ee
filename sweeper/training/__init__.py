"""Training a network on images: device, optimizer, the loop as a stream of epochs, and evaluation."""
