"""tuner: a hyperparameter tuning service on Optuna and PostgreSQL."""

__version__ = "0.1.0"
