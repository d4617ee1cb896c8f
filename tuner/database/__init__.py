"""All the SQL: connections, the schema, and what is written and read in it.

engine.py, hints.py     connections; one that also receives hints of changes
embedded/               a PostgreSQL of our own, one per home
tables.py, schema.py    the tables; upgrading them with the migrations
driver_errors.py        what PostgreSQL's errors mean to a user
prepared_statements.py  statements that the server plans once per connection

studies.py              making, finding and deleting studies, and their state
study_limits.py         changing a study's limits while its trials run
serving.py              what workers ask of studies: active, in turn, over, failing
claims.py               taking a trial
results.py              what a claimed trial reports and how it ends
leases.py               renewing, requeueing, killing
trials.py               what users ask of trials: queue, retry, count
spaces.py               sets of distributions, shared by trials
refusals.py             why a study gives no trial, in sentences

workers.py, devices.py  who works, and on what
accounts.py, audit.py   the dashboard's accounts and its log
notes.py, health.py     what people write on a study; what the server says of itself
attributes.py           JSON values of attributes, as stored
storable_text.py        which text PostgreSQL can hold

readers/                reading trials: incrementally, in columns, summed up
optuna/                 SQL behind Optuna's API and copies of its databases

Functions take a connection and never commit: the caller's `transaction()` or `statement()` does.
"""
