"""Samplers and pruners that a study file names by their class, Optuna's or anybody's.

messages.py   the conversation between a worker and the process of a class: JSON, never pickle
process.py    that process: the worker's own never imports code that a study file names
view.py       the study as the class sees it
client.py     the worker's end of the conversation
leader.py     the one worker that proposes for all others, so that a sampler keeps its state
judge.py      a pruner, one process per worker
"""
