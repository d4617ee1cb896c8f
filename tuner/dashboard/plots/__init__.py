"""What the pages of a study draw: which trials, how they are thinned out, and how they are sent.

watched.py     the studies that are looked at, in columns, kept up to date
selection.py   a filter as it stands in an address → the trials that it leaves, few enough to draw
drawn.py       a figure's name → the figure of a selection
compact.py     a figure as JSON with packed numbers, cached by what it shows
rows.py        windows of the table, and all of it as CSV
stream.py      what changed, told to every page that is open
"""
