"""What came of a run or a study, for a person to read: files to keep, pages to look at."""
