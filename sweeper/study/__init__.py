"""Many experiments as one study: what is searched, who runs it, where it is kept."""
