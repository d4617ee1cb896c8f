"""One pure function a file: trials → Plotly figure. Data first (`info`), drawing second (`figure`).

    theme.py       colours of states and schemes, the template, Plotly's settings
    text.py        names and values as text that Plotly shows as it is
    axes.py        how the values of a parameter lie on an axis
    values.py      objective values: the finite ones, records, the range worth showing
    thin.py        fewer points where nobody could tell them apart
    history.py     values over trials with the best so far
    curves.py      learning curves, one trace a state
    importance.py  each parameter's share of the differences
    parallel.py    parallel coordinates
    slices.py      value against each parameter
    pairs.py       two parameters: rank, contour, heat map
    edf.py         the distribution of values
    pareto.py      what no other trial beats in every objective
    timeline.py    when each trial ran, a lane for each that a worker has at a time
    burndown.py    what is left of the budget
    spending.py    hours of trials by the clock
    rivals.py      several studies: best so far, spread
    confirmation.py  the leading configurations with fresh seeds
    captions.py    the sentences beside them

Nothing here knows where trials are stored. Every figure's file has `info` (what is drawn, as plain
data), `figure` (the drawing) and `table` (the same to read, for those who cannot see a drawing).
"""
