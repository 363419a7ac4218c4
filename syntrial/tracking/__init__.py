"""What a store holds of a trial, shown in MLflow: a projection, and the one door to its server.

    runs.py        what is written: runs with params, metrics, tags and files
    material.py    what is read from the store for it
    projection.py  the material as runs, pure
    searches.py    the part of it that tells of searches
    settings.py    the part of it that names settings as an experiment's file does
    server.py      the door: MLflow's REST API
    sending.py     runs to a server, each once
    following.py   the same in the course of a run, beside it

No step knows of it, and nothing is read back but what was written already: a trial is the same with it and without
([ADR 20](../../docs/adr/0020-mlflow-is-a-projection-by-its-rest-api.md)). Called by the command line.
"""
