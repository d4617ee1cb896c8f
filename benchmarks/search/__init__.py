"""Search quality, by simulation over tables of learning curves."""
