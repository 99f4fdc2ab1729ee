"""The datasets: their facts, reading, splitting and augmentation."""
