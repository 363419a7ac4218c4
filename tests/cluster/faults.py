"""What may happen to the cluster and to the product on it, as tests have it happen."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.cluster.product import Deployed

_PIDS = Path("/proc/self/ns/pid").readlink()


def strike(fault: str, deployed: Deployed, shared_cluster: Path, *, moments: random.Random) -> int:
    """Lets one fault happen to a part of the cluster or of the product; what it needs to come back is given to it.

    Returns how many were hit: a stage may have no pod at that moment.
    """
    victims = 1
    match fault:
        case "kube-apiserver" | "kubelet":
            # SIGKILL of one of the cluster's own processes, which comes back after a few seconds.
            home = Path(deployed.environment["KUBECONFIG"]).parents[1]
            os.kill(int((home / "run" / f"{fault}.pid").read_text()), signal.SIGKILL)
            time.sleep(moments.uniform(1.0, 5.0))
            subprocess.run([shared_cluster / "up"], check=True, capture_output=True, timeout=300)
        case "object store":
            # From outside: the first process of a container ignores SIGKILL from within. Another MinIO serves tests.
            others = [process for process in psutil.process_iter() if process.name() == "minio"]
            others = [process for process in others if Path(f"/proc/{process.pid}/ns/pid").readlink() != _PIDS]
            victims = len(others)
            for process in others:
                process.kill()
        case "two controllers":
            deployed.kubectl("scale", "deployment/syntrial-controller", "--replicas=2")
            time.sleep(15.0)
            deployed.kubectl("scale", "deployment/syntrial-controller", "--replicas=1")
        case "collection":
            job = f"gc-{moments.randrange(10**6)}"
            deployed.kubectl("create", "job", job, "--from=cronjob/syntrial-gc")
            time.sleep(moments.uniform(1.0, 8.0))
            deployed.kubectl("delete", "pod", "-l", f"job-name={job}", "--grace-period=0", "--force")
        case component:
            found = deployed.running_pods(component)[:1]
            victims = len(found)
            for victim in found:
                deployed.kubectl("delete", "pod", victim, "--grace-period=0", "--force", "--ignore-not-found")
    return victims
