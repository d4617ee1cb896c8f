"""Reading trials: incrementally, in columns, and as summaries of whole studies."""
