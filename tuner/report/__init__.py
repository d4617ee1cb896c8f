"""A study or an experiment without tuner: one HTML file, and pictures of its figures.

material.py     what it is made of, from the database
document.py     what stands in the file
facts.py        what it says in words and numbers
templating.py   how templates are read and values look in them, the dashboard's too
pictures.py     figures as PDF, PNG or SVG
"""
