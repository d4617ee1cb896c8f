"""Users' own code: what it is given, how it talks to its worker, how its processes are kept.

Code of other environments imports parts of this, so most of it needs the standard library alone.
"""
