"""What a study's pages draw: which trials, how many of them, and how they reach the browser.

live_studies.py   the studies being viewed, in columns, kept up to date
selection.py      a filter, as in a page's address → its trials, few enough to draw
figures.py        a figure's name → the figure of a selection
encoding.py       a figure as JSON with packed numbers
trial_table.py    windows of the trial table, and all of it as CSV
stream.py         live updates to every open page
"""
