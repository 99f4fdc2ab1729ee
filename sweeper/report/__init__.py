"""Reports: the records of runs and studies, analyzed and shown as Markdown, PNG figures and HTML pages."""
