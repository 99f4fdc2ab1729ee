"""Command lines that nobody thought of: each must end in what it says, or in one clear line."""
