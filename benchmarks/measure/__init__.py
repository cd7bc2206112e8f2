"""One file for each benchmark; each writes its results, and none writes a page."""
