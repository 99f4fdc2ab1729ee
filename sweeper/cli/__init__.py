"""What was typed → Hydra or a verb: one file per verb."""
