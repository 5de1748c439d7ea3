"""The page that a run ends with: ``report.html``, one file that needs nothing else."""
