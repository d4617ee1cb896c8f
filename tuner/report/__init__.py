"""A study or an experiment as one HTML file that needs neither tuner nor a network.

inputs.py       what a report uses, from the database
document.py     the page
findings.py     what it says in words and numbers
plots.py        its figures, with titles and captions
templating.py   how templates are loaded and values look in them; the dashboard uses it too
pictures.py     figures as PDF, PNG or SVG files
"""
