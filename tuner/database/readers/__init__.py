"""Reading trials: incrementally, in columns, and summed up over whole studies.

feed.py      rows that changed since the last poll; the snapshots behind all of these
changes.py   the same in columns, for workers, which read what all others do
columns.py   all finished trials at once, packed by the server
live.py      one study's columns, kept up to date for its pages
progress.py  how far every study is
attempts.py  what was tried, and what went wrong
spending.py  what trials have cost, and where
"""
