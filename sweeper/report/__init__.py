"""What people look at afterwards: a write-up per run, pages, drawings, the dashboard."""
