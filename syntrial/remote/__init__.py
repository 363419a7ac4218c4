"""What the command line does with a cluster: submits, looks, fetches, stops. All through `executors.kubernetes`.

door.py          what is needed of a cluster, as a protocol; memory.py is one in memory, for tests
experiments.py   Experiment objects: found by name, applied, suspended, deleted
store.py         the namespace's store, opened from here
submit.py        local sources to the store, and the experiment with their digests
progress.py      rates of running steps, from the pods
logs.py          logs of live pods and of recorded attempts
retry.py         failed steps, forgiven
view.py          an experiment's status, drawn
"""
