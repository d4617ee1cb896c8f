"""Training with torch: the loop, optimizers, schedules, metrics, weights."""
