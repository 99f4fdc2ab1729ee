"""What was typed → the search space, which of its points are feasible, and where a search begins."""
