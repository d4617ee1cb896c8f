"""One figure per file, drawn from a study's trials: data first (`info`), drawing second (`draw`).

    figure.py        what a figure is, for callers and for the type checker
    registry.py      the figures of one study: an entry makes one appear everywhere
    captions.py      the sentences beside them

    history.py       values over trials with the best so far
    curves.py        learning curves, one trace per state
    importance.py    each parameter's share of the differences
    parallel.py      parallel coordinates
    slices.py        value against each parameter
    rank.py, contour.py, heat.py  two parameters against each other; pairs.py places the trials
    edf.py           the distribution of values
    pareto.py        the trials that no other trial beats in every objective
    hypervolume.py   how much that front beats a reference point by, over time
    timeline.py      when each trial ran, on which device
    burndown.py      how much of the budget is left
    spending.py      time spent on trials, by the clock
    confirmation.py  the leading configurations with fresh seeds
    rivals.py, spread.py  several studies: best so far, spread of values

    theme.py         colours of states and schemes, the template, Plotly's settings
    text.py          names and values as text that Plotly does not interpret
    axes.py          how the values of a parameter lie on an axis
    values.py        objective values: finite ones, records, the range worth showing
    thin.py          fewer points where nobody could tell them apart

Nothing here knows where trials are stored. Every figure has `info` (plain data), `draw` (the
drawing) and `table` (the same data to read, for those who cannot see a drawing).
"""
