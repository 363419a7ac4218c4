"""What a forkserver imports before torch. Named in `syntrial.executors.forked`; nothing else imports it."""

import os

from syntrial.rpc.main import pin_arithmetic

# Ctrl-C is for the executor.
os.setsid()
# Libraries read these as they are imported, once for all that is forked.
pin_arithmetic()
# Else counting GPUs starts CUDA, which does not live through a fork; by NVML it is not started.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
