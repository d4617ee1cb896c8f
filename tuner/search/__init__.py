"""The search: what to try next and when to stop; all of Optuna is in here."""
