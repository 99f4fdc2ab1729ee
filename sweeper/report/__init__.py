"""Reports of runs and studies: their records, analyzed and written as Markdown, PNG figures and HTML pages."""
