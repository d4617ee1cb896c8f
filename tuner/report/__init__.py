"""A study for those who have no tuner: one HTML file, and pictures of its figures.

page.py         what stands in the file
facts.py        what it says in words and numbers
templating.py   how templates are read and values look in them, the dashboard's too
pictures.py     figures as PDF, PNG or SVG
"""
