"""What a user can do. The command line, the dashboard, the REST API and notebooks call these.

preparing.py    a study file, its data and its code → a study that can be launched
launching.py    launch studies, or continue those that exist
changing.py     change the limits of a study, and let a finished one go on
steering.py     pause, resume, stop, retry, enqueue, kill, drain, delete
reading.py      look studies and trials up
sources.py      whether a study's code and data are on this machine, as they were at launch
vectors.py      word vectors of one study as the embeddings of another
experiments.py  several families on the same data: a study of each, compared
confirming.py   train the leading configurations of a study again with fresh seeds
exporting.py    write bundles; the test part is read once per study

Functions take the open `Database`. A user's mistake comes out as a `TunerError`. Callers import the
module and name it: `launching.launch(database, prepared)`.
"""
