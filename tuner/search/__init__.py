"""The search: what to try next and when to stop; all of Optuna is in here."""

import optuna

from tuner import logs

if logs.is_own_process():  # what Optuna logs is of no interest to users of tuner's own processes
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    optuna.logging.disable_default_handler()
