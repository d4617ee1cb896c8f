"""The SQL behind Optuna's API and behind copies of Optuna's own databases."""
