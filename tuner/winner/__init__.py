"""Which trial of a study wins: by its value, or proven by trainings with fresh seeds.

choice.py       which trial is exported, what of it is claimed, the one look at the test part
together.py     the winners of several studies in one folder
confirm.py      the study that trains the leading configurations again
elimination.py  the statistics: who is out after a round, and who has won
"""
