"""What the command line does with a cluster: submits, looks, fetches, stops. All through `syntrial.cluster.door`.

trial.py         an Experiment as `report`, `retry`, `logs`, `status` and `export` know a trial
experiments.py   Experiment objects: found by name, applied, suspended, deleted
store.py         the namespace's store, opened from here
submit.py        local sources to the store, and the experiment with their digests
progress.py      rates of running steps, from the pods
pod_logs.py      what live pods print
retry.py         sources that could not be read, tried again
"""
