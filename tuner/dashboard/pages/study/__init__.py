"""The pages of one study: its tabs, its trials, its export, its controls."""
