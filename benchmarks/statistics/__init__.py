"""What the intervals of comparisons are worth."""
