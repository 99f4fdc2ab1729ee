"""What a valid config is, and how overrides become one. Without torch."""
