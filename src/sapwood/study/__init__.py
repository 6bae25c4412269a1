"""Study: what reads the rows of trials - tables, claims and their verdicts, plots, reports."""
