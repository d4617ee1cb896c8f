"""tuner from Python and notebooks: `tuner.run`, `tuner.launch`, `tuner.study` …

    study = tuner.run("studies/digits-cnn.yaml")
    study.trials            # a pandas DataFrame
    study.best.params
    study.plot.history()    # a Plotly figure
    study.export()

running.py       launch studies, and work on them with a worker of this process
studies.py       a study, its winner and its figures
experiments.py   an experiment: the studies of several families, compared
connection.py    this process's connection to the database

Every access to a study or an experiment reads the database, so it is never stale.
"""

from tuner.api.experiments import Experiment, experiment
from tuner.api.running import launch, run
from tuner.api.studies import Best, Plots, Study, study

__all__ = ["Best", "Experiment", "Plots", "Study", "experiment", "launch", "run", "study"]
