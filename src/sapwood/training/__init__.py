"""Training: a task, a run over it, the loop that hands over every step, and the file that a run resumes from."""
