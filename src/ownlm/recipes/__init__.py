"""Named complete runs: configurations, and the jobs that carry them out."""
