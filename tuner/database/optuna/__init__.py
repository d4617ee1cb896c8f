"""The SQL behind Optuna's API, and behind copies from and to Optuna's own databases.

writes.py     trials as Optuna's storages write them: create, start, set, report, end
bulk.py       many finished trials at once, with COPY
binary.py     COPY's binary format
rdb_rows.py   trials in the tables of Optuna's own RDBStorage
databases.py  URLs of such databases
prefetch.py   makes the next batch while one is used
"""
