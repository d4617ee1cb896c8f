"""Which trial of a study wins: by its value, or by trainings with fresh seeds.

choice.py         the choice, by value or by a confirmation
feasibility.py    which trials keep the constraints, and how far the others are from it
hypervolume.py    how much a front beats a reference point by
elimination.py    the statistics of a confirmation: what drops out after a round, and what wins
expense.py        what trainings cost, compared
confirmations.py  what a confirmation has shown, as stored with its study

Pure functions over studies, trials and values; `commands.confirming` has the trials run.
"""
