"""Masking: which weights are kept, and how the others are held at 0 while anything trains."""
