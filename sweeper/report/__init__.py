"""What came of a run or a study, for a person: a write-up, drawings, pages, the dashboard."""
