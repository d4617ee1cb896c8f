"""The pages of one study: its tabs, trials, export and controls."""
