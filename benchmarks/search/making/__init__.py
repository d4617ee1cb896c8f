"""Making the tables of `benchmarks/search/tables` from real training.

networks.py     learning curves of small networks, many of which are trained at once
estimators.py   scikit-learn's estimators: a conditional space
public.py       excerpts of public tables
"""
