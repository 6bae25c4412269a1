"""Selection: from scores to what stays. How much goes where, and when."""
