"""Workers: claim trials, hand them to executor processes, store what these report."""
